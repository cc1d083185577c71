//! The file (PROFILE.md, "Header" and "N-grams").

use std::{array, fmt};

use xxhash_rust::xxh3::xxh3_128;

use super::{MAX_PROFILE_NGRAMS, OrderCounts, Profile, WindowRules};
use crate::{address::MAX_ORDER, digest::Digest, error::FormatError};

/// The newest version that this release reads.
const VERSION: u32 = 2;
/// The version of profiles of orders from 2 on, which older releases read.
const OF_NGRAMS: u32 = 1;
const MAGIC: [u8; 8] = *b"ENGRAMPF";
const AT_VERSION: usize = MAGIC.len();
const AT_MAX_ORDER: usize = AT_VERSION + 4;
const AT_VOCAB_SIZE: usize = AT_MAX_ORDER + 4;
const AT_FILL: usize = AT_VOCAB_SIZE + 4;
const AT_COMPRESSED: usize = AT_FILL + 4;
const AT_RESERVED: usize = AT_COMPRESSED + 4;
const AT_BOUNDARY: usize = AT_RESERVED + 4;
const AT_TOKEN_MAP: usize = AT_BOUNDARY + 16;
const AT_TOKENS: usize = AT_TOKEN_MAP + 16;
const AT_ORDERS: usize = AT_TOKENS + 8;
const ORDER_BYTES: usize = 16;
const HEADER_BYTES: usize = AT_ORDERS + (MAX_ORDER - 1) * ORDER_BYTES;
const CHECKSUM_BYTES: usize = 16;

const _: () = assert!(
    AT_ORDERS == 72 && HEADER_BYTES == 184,
    "PROFILE.md gives these offsets"
);

/// Size in bytes of the largest profile that there can be.
pub const MAX_PROFILE_BYTES: u64 = {
    let orders = MAX_ORDER - 1;
    // Orders 2 to MAX_ORDER have 5 ids on average, which are 20 bytes, and a count.
    let ngrams = orders * MAX_PROFILE_NGRAMS * (4 * (MAX_ORDER + 2) / 2 + 8);
    (HEADER_BYTES + ngrams + CHECKSUM_BYTES) as u64
};

/// The version of profiles of that order.
fn version_of(max_order: u32) -> u32 {
    if max_order < 2 { VERSION } else { OF_NGRAMS }
}

/// Bytes of an n-gram with its count.
fn record_bytes(order: usize) -> usize {
    4 * order + 8
}

impl Profile {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        let rules = &self.rules;
        put(0, &MAGIC);
        put(AT_VERSION, &version_of(rules.max_order).to_le_bytes());
        put(AT_MAX_ORDER, &rules.max_order.to_le_bytes());
        put(AT_VOCAB_SIZE, &rules.hashed_vocab_size.to_le_bytes());
        put(AT_FILL, &rules.fill.to_le_bytes());
        put(AT_BOUNDARY, &rules.boundary.0.to_le_bytes());
        if let Some(token_map) = rules.token_map {
            put(AT_COMPRESSED, &1_u32.to_le_bytes());
            put(AT_TOKEN_MAP, &token_map.0.to_le_bytes());
        }
        put(AT_TOKENS, &self.tokens.to_le_bytes());
        for (index, counts) in self.orders.iter().enumerate() {
            let at = AT_ORDERS + index * ORDER_BYTES;
            put(at, &counts.distinct.to_le_bytes());
            put(at + 8, &(counts.kept() as u64).to_le_bytes());
        }
        for (ngram, count) in self.orders.iter().flat_map(OrderCounts::iter) {
            bytes.extend(ngram.iter().flat_map(|id| id.to_le_bytes()));
            bytes.extend(count.to_le_bytes());
        }
        let checksum = xxh3_128(&bytes);
        bytes.extend(checksum.to_le_bytes());
        bytes
    }

    /// Reads and checks a file's bytes.
    ///
    /// # Errors
    /// Bytes that are no profile, of a newer version, or damaged; fields that are outside their ranges or
    /// contradict one another; n-grams out of order.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let least = HEADER_BYTES + CHECKSUM_BYTES;
        let short = FormatError::Size {
            found: bytes.len() as u64,
            expected: least as u64,
        };
        let Some(&found) = bytes.first_chunk() else {
            return Err(short);
        };
        if found != MAGIC {
            return Err(FormatError::Magic {
                found,
                expected: MAGIC,
            });
        }
        if bytes.len() < least {
            return Err(short);
        }
        let header = Header(bytes);
        let version = header.u32(AT_VERSION);
        if !(OF_NGRAMS..=VERSION).contains(&version) {
            return Err(FormatError::Version {
                found: version.into(),
                supported: VERSION,
            });
        }
        let (covered, stored) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
        let (found, stored) = (xxh3_128(covered), Header(stored).u128(0));
        if found != stored {
            return Err(FormatError::Checksum {
                what: "profile",
                found: Digest(found).to_string(),
                expected: Digest(stored).to_string(),
            });
        }
        let rules = header.rules()?;
        let tokens = header.u64(AT_TOKENS);
        let sizes = header.sizes(&rules, tokens)?;
        let first_order = rules.first_order() as usize;
        let ngrams = (first_order..).zip(&sizes);
        let ngrams = ngrams.map(|(order, &(_, kept))| kept * record_bytes(order));
        let expected = HEADER_BYTES + ngrams.sum::<usize>();
        if covered.len() != expected {
            return Err(FormatError::Size {
                found: bytes.len() as u64,
                expected: (expected + CHECKSUM_BYTES) as u64,
            });
        }
        let mut rest = &covered[HEADER_BYTES..];
        let orders = (first_order..).zip(sizes).map(|(order, (distinct, kept))| {
            let (records, after) = rest.split_at(kept * record_bytes(order));
            rest = after;
            let counts = OrderCounts::from_records(order, distinct, records);
            counts.check(&rules, tokens)?;
            Ok(counts)
        });
        let orders = orders.collect::<Result<_, FormatError>>()?;
        Ok(Self {
            rules,
            tokens,
            orders,
        })
    }
}

/// Reads little-endian numbers at offsets that the bytes are known to reach.
struct Header<'a>(&'a [u8]);

impl Header<'_> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        array::from_fn(|i| self.0[at + i])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    fn u128(&self, at: usize) -> u128 {
        u128::from_le_bytes(self.array(at))
    }

    fn rules(&self) -> Result<WindowRules, FormatError> {
        let max_order = self.u32(AT_MAX_ORDER);
        let (good, expected) = match self.u32(AT_VERSION) {
            OF_NGRAMS => ((2..=MAX_ORDER).contains(&(max_order as usize)), "2 to 8"),
            _ => (max_order == 1, "1"),
        };
        need(good, "max order", max_order, expected)?;
        let hashed_vocab_size = self.u32(AT_VOCAB_SIZE);
        need(
            hashed_vocab_size > 0 && hashed_vocab_size < u32::MAX,
            "hashed vocabulary",
            hashed_vocab_size,
            format_args!("1 to {}", u32::MAX - 1),
        )?;
        let fill = self.u32(AT_FILL);
        need(
            fill < hashed_vocab_size,
            "fill",
            fill,
            format_args!("below {hashed_vocab_size}"),
        )?;
        let reserved = self.u32(AT_RESERVED);
        need(reserved == 0, "reserved field", reserved, "0")?;
        let token_map = Digest(self.u128(AT_TOKEN_MAP));
        let compressed = self.u32(AT_COMPRESSED);
        need(compressed <= 1, "compressed", compressed, "0 or 1")?;
        need(
            compressed == 1 || token_map.0 == 0,
            "token map digest of a scheme without one",
            token_map,
            "0",
        )?;
        Ok(WindowRules {
            max_order,
            hashed_vocab_size,
            fill,
            boundary: Digest(self.u128(AT_BOUNDARY)),
            token_map: (compressed == 1).then_some(token_map),
        })
    }

    /// Different and kept n-grams of each order.
    fn sizes(&self, rules: &WindowRules, tokens: u64) -> Result<Vec<(u64, usize)>, FormatError> {
        need(tokens > 0, "tokens", tokens, "1 or more")?;
        let mut sizes = Vec::new();
        let first_order = rules.first_order() as usize;
        for place in 0..MAX_ORDER - 1 {
            let order = first_order + place;
            let at = AT_ORDERS + place * ORDER_BYTES;
            let (distinct, kept) = (self.u64(at), self.u64(at + 8));
            let different = format!("different n-grams of order {order}");
            let held = format!("n-grams held of order {order}");
            if order > rules.max_order as usize {
                need(distinct == 0, &different, distinct, "0")?;
                need(kept == 0, &held, kept, "0")?;
                continue;
            }
            need(
                (1..=tokens).contains(&distinct),
                &different,
                distinct,
                format_args!("1 to {tokens}"),
            )?;
            let most = distinct.min(MAX_PROFILE_NGRAMS as u64);
            need(
                (1..=most).contains(&kept),
                &held,
                kept,
                format_args!("1 to {most}"),
            )?;
            sizes.push((distinct, usize::try_from(kept).expect("at most 2^24")));
        }
        Ok(sizes)
    }
}

impl OrderCounts {
    fn from_records(order: usize, distinct: u64, records: &[u8]) -> Self {
        let records = records.chunks_exact(record_bytes(order));
        let mut ids = Vec::with_capacity(records.len() * order);
        let mut counts = Vec::with_capacity(records.len());
        for record in records {
            let (ngram, count) = record.split_at(4 * order);
            let (words, _) = ngram.as_chunks();
            ids.extend(words.iter().map(|&word| u32::from_le_bytes(word)));
            counts.push(Header(count).u64(0));
        }
        Self {
            order,
            distinct,
            ids,
            counts,
        }
    }

    /// Checks ids, counts and their order.
    fn check(&self, rules: &WindowRules, tokens: u64) -> Result<(), FormatError> {
        let vocab_size = rules.hashed_vocab_size;
        let mut before: Option<(&[u32], u64)> = None;
        let (mut sum, mut last) = (0_u64, 0);
        for (index, (ngram, count)) in self.iter().enumerate() {
            let field = |name| NgramField {
                name,
                index,
                order: self.order,
            };
            let largest = ngram.iter().copied().max().unwrap_or(0);
            need(
                largest < vocab_size,
                field("largest id"),
                largest,
                format_args!("below {vocab_size}"),
            )?;
            let left = tokens - sum;
            need(
                (1..=left).contains(&count),
                field("count"),
                count,
                format_args!("1 to {left}, what is left of {tokens} tokens"),
            )?;
            if let Some((ids, most)) = before {
                need(
                    count <= most,
                    field("count"),
                    count,
                    format_args!("at most {most}, that of the one before"),
                )?;
                need(
                    count < most || ids < ngram,
                    field("position"),
                    format_args!("after {ids:?}, which has the same count"),
                    "before it",
                )?;
            }
            before = Some((ngram, count));
            (sum, last) = (sum + count, count);
        }
        // Each n-gram that is left out occurs at least once, and at most as often as the last one that is held.
        let others = self.distinct - self.kept() as u64;
        let most = others.saturating_mul(last);
        need(
            (others..=most).contains(&(tokens - sum)),
            format_args!("sum of the counts of order {}", self.order),
            sum,
            format_args!("{tokens} tokens less {others} to {most} for n-grams left out"),
        )
    }
}

/// Names what of an n-gram is wrong. Formatted only for an error, as there are millions of n-grams.
struct NgramField {
    name: &'static str,
    index: usize,
    order: usize,
}

impl fmt::Display for NgramField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, index, order } = self;
        write!(f, "{name} of n-gram {index} of order {order}")
    }
}

/// Fails unless `holds`.
fn need(
    holds: bool,
    field: impl ToString,
    found: impl ToString,
    expected: impl ToString,
) -> Result<(), FormatError> {
    if holds {
        return Ok(());
    }
    Err(FormatError::ProfileField {
        field: field.to_string(),
        found: found.to_string(),
        expected: expected.to_string(),
    })
}
