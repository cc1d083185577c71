//! The first block of a shard (FORMAT.md, "Shard header").

use crate::{
    address::Column,
    codec::RowCodec,
    digest::{Digest, ShardDigests},
    error::FormatError,
    ids::LayerId,
    layout::{HEADER_BYTES, RecordLayout},
};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: [u8; 8] = *b"ENGRAMSH";
/// Shards are the same in packs of all versions so far.
const VERSION: u32 = 1;
const AT_VERSION: usize = MAGIC.len();
const AT_CODEC: usize = AT_VERSION + 4;
const AT_LAYER: usize = AT_CODEC + 4;
const AT_COLUMN: usize = AT_LAYER + 4;
const AT_ORDER: usize = AT_COLUMN + 4;
const AT_HEAD: usize = AT_ORDER + 4;
const AT_ROW_BYTES: usize = AT_HEAD + 4;
const AT_STRIDE: usize = AT_ROW_BYTES + 4;
const AT_FIRST_ROW: usize = AT_STRIDE + 4;
const AT_ROW_COUNT: usize = AT_FIRST_ROW + 8;
const AT_DATA_DIGEST: usize = AT_ROW_COUNT + 8;
const AT_ROWS_DIGEST: usize = AT_DATA_DIGEST + 16;
const AT_RESERVED: usize = AT_ROWS_DIGEST + 16;
const AT_CHECKSUM: usize = HEADER_BYTES - 8;

const _: () = assert!(AT_RESERVED == 88, "FORMAT.md gives these offsets");

/// What a shard says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardHeader {
    /// Number of the row codec, see [`RowCodec::id`].
    pub codec: u32,
    /// The model's layer id.
    pub layer: LayerId,
    /// The column, with its first row and row count.
    pub column: Column,
    /// Bytes of a row.
    pub row_bytes: u32,
    /// Bytes from record to record.
    pub stride: u32,
    /// Digests of what follows.
    pub digests: ShardDigests,
}

impl ShardHeader {
    /// The header of `column` in the table of `layer`.
    ///
    /// # Panics
    /// If `codec` has not passed [`RowCodec::validate`].
    pub fn new(layer: LayerId, column: Column, codec: RowCodec, digests: ShardDigests) -> Self {
        let layout = RecordLayout::new(codec.row_bytes());
        let small =
            |bytes| u32::try_from(bytes).expect("a valid codec has rows of a few MiB at most");
        Self {
            codec: codec.id(),
            layer,
            column,
            row_bytes: small(layout.row_bytes()),
            stride: small(layout.stride()),
            digests,
        }
    }

    /// The header block.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut block = [0; HEADER_BYTES];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(AT_VERSION, &VERSION.to_le_bytes());
        put(AT_CODEC, &self.codec.to_le_bytes());
        put(AT_LAYER, &self.layer.0.to_le_bytes());
        put(AT_COLUMN, &self.column.index.to_le_bytes());
        put(AT_ORDER, &self.column.order.to_le_bytes());
        put(AT_HEAD, &self.column.head.to_le_bytes());
        put(AT_ROW_BYTES, &self.row_bytes.to_le_bytes());
        put(AT_STRIDE, &self.stride.to_le_bytes());
        put(AT_FIRST_ROW, &self.column.first_row.to_le_bytes());
        put(AT_ROW_COUNT, &self.column.row_count.to_le_bytes());
        put(AT_DATA_DIGEST, &self.digests.data.0.to_le_bytes());
        put(AT_ROWS_DIGEST, &self.digests.rows.0.to_le_bytes());
        let checksum = xxh3_64(&block[..AT_CHECKSUM]);
        block[AT_CHECKSUM..].copy_from_slice(&checksum.to_le_bytes());
        block
    }

    /// Reads a header block and checks magic, version and checksum.
    ///
    /// # Errors
    /// A block that is no shard header, is of a newer version, or is damaged.
    pub fn decode(block: &[u8; HEADER_BYTES]) -> Result<Self, FormatError> {
        let found: [u8; 8] = array(block, 0);
        if found != MAGIC {
            return Err(FormatError::Magic {
                found,
                expected: MAGIC,
            });
        }
        let u32_at = |at| u32::from_le_bytes(array(block, at));
        let u64_at = |at| u64::from_le_bytes(array(block, at));
        let digest_at = |at| Digest(u128::from_le_bytes(array(block, at)));
        let version = u32_at(AT_VERSION);
        if version != VERSION {
            return Err(FormatError::Version {
                found: version.into(),
                supported: VERSION,
            });
        }
        let (found, expected) = (xxh3_64(&block[..AT_CHECKSUM]), u64_at(AT_CHECKSUM));
        if found != expected {
            return Err(FormatError::Checksum {
                what: "shard header",
                found: format!("{found:016x}"),
                expected: format!("{expected:016x}"),
            });
        }
        Ok(Self {
            codec: u32_at(AT_CODEC),
            layer: LayerId(u32_at(AT_LAYER)),
            column: Column {
                index: u32_at(AT_COLUMN),
                order: u32_at(AT_ORDER),
                head: u32_at(AT_HEAD),
                first_row: u64_at(AT_FIRST_ROW),
                row_count: u64_at(AT_ROW_COUNT),
            },
            row_bytes: u32_at(AT_ROW_BYTES),
            stride: u32_at(AT_STRIDE),
            digests: ShardDigests {
                data: digest_at(AT_DATA_DIGEST),
                rows: digest_at(AT_ROWS_DIGEST),
            },
        })
    }

    /// Checks that `block` is this header, byte for byte.
    ///
    /// # Errors
    /// What [`Self::decode`] refuses, or the first field that differs.
    pub fn check(&self, block: &[u8; HEADER_BYTES]) -> Result<(), FormatError> {
        let found = Self::decode(block)?;
        self.compare(&found)?;
        // Equal fields and a valid checksum leave only the reserved bytes.
        if *block != self.encode() {
            return Err(FormatError::HeaderField {
                field: "reserved bytes",
                found: "not zero".into(),
                expected: "zero".into(),
            });
        }
        Ok(())
    }

    fn compare(&self, found: &Self) -> Result<(), FormatError> {
        let fields = |h: &Self| {
            [
                ("codec", h.codec.to_string()),
                ("layer", h.layer.to_string()),
                ("column", h.column.index.to_string()),
                ("order", h.column.order.to_string()),
                ("head", h.column.head.to_string()),
                ("row bytes", h.row_bytes.to_string()),
                ("stride", h.stride.to_string()),
                ("first row", h.column.first_row.to_string()),
                ("row count", h.column.row_count.to_string()),
                ("data digest", h.digests.data.to_string()),
                ("rows digest", h.digests.rows.to_string()),
            ]
        };
        for ((field, found), (_, expected)) in fields(found).into_iter().zip(fields(self)) {
            if found != expected {
                return Err(FormatError::HeaderField {
                    field,
                    found,
                    expected,
                });
            }
        }
        Ok(())
    }
}

fn array<const N: usize>(block: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|i| block[at + i])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> ShardHeader {
        let column = Column {
            index: 9,
            order: 3,
            head: 1,
            first_row: 144_001_069,
            row_count: 16_000_207,
        };
        let digests = ShardDigests {
            data: Digest::of(b"data"),
            rows: Digest::of(b"rows"),
        };
        ShardHeader::new(
            LayerId(1),
            column,
            RowCodec::Fp8Ue8m0 {
                width: 256,
                group: 32,
            },
            digests,
        )
    }

    #[test]
    fn a_header_survives_its_block() {
        let block = header().encode();
        assert_eq!(ShardHeader::decode(&block), Ok(header()));
        assert_eq!(header().check(&block), Ok(()));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let block = header().encode();
        for bit in 0..HEADER_BYTES * 8 {
            let mut damaged = block;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(header().check(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_column_is_named() {
        let mut other = header();
        other.column.head = 2;
        let refused = header().check(&other.encode());
        assert!(
            matches!(&refused, Err(FormatError::HeaderField { field: "head", found, expected })
                if found == "2" && expected == "1"),
            "{refused:?}"
        );
    }

    #[test]
    fn a_newer_version_is_refused() {
        let mut block = header().encode();
        block[AT_VERSION] = 2;
        let refused = header().check(&block);
        assert!(
            matches!(refused, Err(FormatError::Version { found: 2, .. })),
            "{refused:?}"
        );
    }
}
