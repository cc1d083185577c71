//! Shards of a cold pack: the rows of a column in Zstandard frames (FORMAT.md, "Cold packs").
//!
//! Here is where the frames lie and what they must hold; what is in a frame is Zstandard's.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::{
    digest::Digest,
    error::FormatError,
    header::ShardHeader,
    layout::{HEADER_BYTES, RecordLayout, SEAL_BYTES},
};

/// How the names of cold shards end.
pub const COLD_EXTENSION: &str = ".cold";
/// The most bytes that the records of a frame may take in a packed shard.
pub const MAX_FRAME_BYTES: u64 = 1 << 24;
/// The most bytes that a dictionary may have.
pub const MAX_DICTIONARY_BYTES: u32 = 1 << 20;
/// The most bytes that the index of a column may have, all of which a reader keeps in memory.
const MAX_INDEX_BYTES: u64 = 1 << 28;

/// Begins a part of a Zstandard stream that decoders skip (RFC 8878, 3.1.2); its length follows.
const SKIPPABLE: u32 = 0x184D_2A50;
const SKIPPABLE_BYTES: u64 = 8;
const ENTRY_BYTES: usize = 20;

const MAGIC: [u8; 8] = *b"ENGRAMCS";
const VERSION: u32 = 1;

/// What a cold pack says of one table, beside what a packed one does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColdTable {
    /// Rows of each frame but the last of a column: whole groups of a packed shard.
    pub frame_rows: u64,
    /// The file of each column.
    pub shards: Vec<ColdShard>,
}

/// What a cold pack says of the file of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColdShard {
    /// Its size.
    pub bytes: u64,
    /// Bytes of the dictionary of its frames; 0 without one.
    pub dictionary_bytes: u32,
    /// Digest of what is between its header and its first frame: dictionary and index.
    pub digest: Digest,
}

/// The file of one column of a cold pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColdColumn {
    /// The header of the packed shard that can be made of it.
    pub header: ShardHeader,
    /// As [`ColdTable::frame_rows`].
    pub frame_rows: u64,
    /// The file.
    pub shard: ColdShard,
}

/// Where a frame lies, and by what it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePlace {
    /// Offset in the file.
    pub offset: u64,
    /// Its bytes.
    pub len: u32,
    /// XXH3-64 of its bytes.
    pub checksum: u64,
    /// [`seals_digest`] of its records.
    pub seals: u64,
}

/// The most bytes that a frame of `row_bytes` bytes of rows may have.
///
/// Zstandard stores what it cannot make smaller, with some bytes around it.
pub const fn compressed_bound(row_bytes: u64) -> u64 {
    row_bytes + row_bytes / 128 + 512
}

/// XXH3-64 of the seals of `count` records in whole `groups`, one after another.
pub fn seals_digest(layout: &RecordLayout, groups: &[u8], count: usize) -> u64 {
    let mut digest = Xxh3::new();
    for record in layout.records(groups).take(count) {
        digest.update(&record[record.len() - SEAL_BYTES..]);
    }
    digest.digest()
}

impl ColdColumn {
    /// How the records of the packed shard lie.
    pub fn layout(&self) -> RecordLayout {
        RecordLayout::new(self.header.row_bytes as usize)
    }

    /// Frames of the file.
    pub fn frames(&self) -> u64 {
        self.header.column.row_count.div_ceil(self.frame_rows)
    }

    /// Bytes that the records of a frame take in the packed shard; of the last one, fewer.
    pub fn frame_bytes(&self) -> u64 {
        let layout = self.layout();
        self.frame_rows / layout.group_records() as u64 * layout.group_bytes() as u64
    }

    /// Rows of a frame.
    pub fn rows_of(&self, frame: u64) -> u64 {
        let before = frame * self.frame_rows;
        (self.header.column.row_count - before).min(self.frame_rows)
    }

    /// Bytes of the rows of a frame.
    pub fn row_bytes_of(&self, frame: u64) -> u64 {
        self.rows_of(frame) * u64::from(self.header.row_bytes)
    }

    /// Offset of the first frame: what is before it is header, dictionary and index.
    pub fn first_frame(&self) -> u64 {
        let dictionary = match self.shard.dictionary_bytes {
            0 => 0,
            bytes => SKIPPABLE_BYTES + u64::from(bytes),
        };
        HEADER_BYTES as u64 + dictionary + SKIPPABLE_BYTES + self.index_bytes()
    }

    fn index_bytes(&self) -> u64 {
        self.frames().saturating_mul(ENTRY_BYTES as u64)
    }

    /// The header block.
    ///
    /// # Panics
    /// Never: its fields take fewer bytes.
    pub fn encode_header(&self) -> [u8; HEADER_BYTES] {
        let (packed, column) = (&self.header, &self.header.column);
        let mut block = Vec::with_capacity(HEADER_BYTES);
        block.extend(SKIPPABLE.to_le_bytes());
        let skipped = HEADER_BYTES as u64 - SKIPPABLE_BYTES;
        block.extend(narrow(skipped).to_le_bytes());
        block.extend(MAGIC);
        for field in [
            VERSION,
            packed.codec,
            packed.layer.0,
            column.index,
            column.order,
            column.head,
            packed.row_bytes,
            self.shard.dictionary_bytes,
        ] {
            block.extend(field.to_le_bytes());
        }
        for field in [
            self.frame_rows,
            column.first_row,
            column.row_count,
            self.shard.bytes,
        ] {
            block.extend(field.to_le_bytes());
        }
        for digest in [self.shard.digest, packed.digests.data, packed.digests.rows] {
            block.extend(digest.0.to_le_bytes());
        }
        block.resize(HEADER_BYTES - 8, 0);
        block.extend(xxh3_64(&block).to_le_bytes());
        block.try_into().expect("it has the bytes of a header")
    }

    /// Checks that `block` is this column's header, byte for byte.
    ///
    /// # Errors
    /// What is no header of a cold shard, one of a newer version or damaged, or the first field that differs.
    pub fn check_header(&self, block: &[u8; HEADER_BYTES]) -> Result<(), FormatError> {
        let expected = self.encode_header();
        let header = Fields(block);
        header.check_kind()?;
        let expected_fields = Fields(&expected).named();
        for ((field, found), (_, expected)) in header.named().into_iter().zip(expected_fields) {
            if found != expected {
                return Err(FormatError::HeaderField {
                    field,
                    found,
                    expected,
                });
            }
        }
        if *block != expected {
            return Err(FormatError::HeaderField {
                field: "reserved bytes",
                found: "not zero".into(),
                expected: "zero".into(),
            });
        }
        Ok(())
    }

    /// What the header `block` of a file of this column says that only its bytes can tell, where all else is as here.
    ///
    /// # Errors
    /// As [`Self::check_header`].
    pub fn adopt(mut self, block: &[u8; HEADER_BYTES]) -> Result<Self, FormatError> {
        let fields = Fields(block);
        fields.check_kind()?;
        self.shard = ColdShard {
            bytes: fields.u64_at(AT_BYTES),
            dictionary_bytes: fields.u32_at(AT_DICTIONARY_BYTES),
            digest: fields.digest_at(AT_DIGEST),
        };
        self.check_header(block)?;
        Ok(self)
    }

    /// What lies between header and first frame.
    ///
    /// # Panics
    /// If there are not as many places as frames, or 2^32 bytes of places or more.
    pub fn encode_head(&self, dictionary: &[u8], places: &[FramePlace]) -> Vec<u8> {
        assert_eq!(places.len() as u64, self.frames(), "a place for each frame");
        let mut head = Vec::new();
        if !dictionary.is_empty() {
            head.extend(SKIPPABLE.to_le_bytes());
            head.extend(narrow(dictionary.len() as u64).to_le_bytes());
            head.extend(dictionary);
        }
        head.extend(SKIPPABLE.to_le_bytes());
        head.extend(narrow(self.index_bytes()).to_le_bytes());
        for place in places {
            head.extend(place.len.to_le_bytes());
            head.extend(place.checksum.to_le_bytes());
            head.extend(place.seals.to_le_bytes());
        }
        head
    }

    /// The dictionary and the places of the frames, from what lies between header and first frame.
    ///
    /// # Errors
    /// A digest that differs, parts of other lengths than they must have, a frame that is empty or longer than its rows
    /// can make it, or frames that do not end where the file does.
    pub fn read_head<'a>(&self, head: &'a [u8]) -> Result<(&'a [u8], FrameIndex), FormatError> {
        let expected = self.first_frame() - HEADER_BYTES as u64;
        if head.len() as u64 != expected {
            let found = head.len() as u64;
            return Err(FormatError::Size { found, expected });
        }
        let found = Digest::of(head);
        if found != self.shard.digest {
            return Err(FormatError::Checksum {
                what: "dictionary and index of frames",
                found: found.to_string(),
                expected: self.shard.digest.to_string(),
            });
        }
        let mut rest = head;
        let dictionary = match self.shard.dictionary_bytes {
            0 => &[],
            bytes => skippable(&mut rest, "the dictionary", bytes.into())?,
        };
        let entries = skippable(&mut rest, "the index", self.index_bytes())?;
        Ok((dictionary, FrameIndex::read(self, entries)?))
    }

    /// Checks what the manifest says of it.
    pub(crate) fn check(&self, place: &str) -> Result<(), FormatError> {
        let fault = |field: &str, found: u64, expected: String| {
            Err(FormatError::ManifestField {
                field: format!("storage.tables.{field} of {place}"),
                found: found.to_string(),
                expected,
            })
        };
        let layout = self.layout();
        let group = layout.group_records() as u64;
        let most = MAX_FRAME_BYTES / layout.group_bytes() as u64 * group;
        let rows = self.frame_rows;
        if !rows.is_multiple_of(group) || !(group..=most).contains(&rows) {
            let expected = format!("a multiple of {group} up to {most}");
            return fault("frame_rows", rows, expected);
        }
        let dictionary = self.shard.dictionary_bytes;
        if dictionary > MAX_DICTIONARY_BYTES {
            let expected = format!("at most {MAX_DICTIONARY_BYTES}");
            return fault("shards.dictionary_bytes", dictionary.into(), expected);
        }
        if self.index_bytes() > MAX_INDEX_BYTES {
            let most = MAX_INDEX_BYTES / ENTRY_BYTES as u64;
            let expected = format!("at most {most} in a column");
            return fault("frames", self.frames(), expected);
        }
        // A frame has a byte at least.
        let least = self.first_frame() + self.frames();
        if self.shard.bytes < least {
            return fault(
                "shards.bytes",
                self.shard.bytes,
                format!("at least {least}"),
            );
        }
        Ok(())
    }
}

/// The places of all frames of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameIndex {
    /// Where each begins, and where the last one ends.
    offsets: Vec<u64>,
    /// Checksum and digest of the seals of each.
    checks: Vec<[u64; 2]>,
}

impl FrameIndex {
    fn read(column: &ColdColumn, entries: &[u8]) -> Result<Self, FormatError> {
        let count = entries.len() / ENTRY_BYTES;
        let mut index = Self {
            offsets: Vec::with_capacity(count + 1),
            checks: Vec::with_capacity(count),
        };
        let mut next = column.first_frame();
        index.offsets.push(next);
        for (frame, entry) in (0..).zip(entries.chunks_exact(ENTRY_BYTES)) {
            let fields = Fields(entry);
            let len = u64::from(fields.u32_at(0));
            let most = compressed_bound(column.row_bytes_of(frame));
            if !(1..=most).contains(&len) {
                return Err(FormatError::FrameIndex {
                    field: format!("bytes of frame {frame}"),
                    found: len,
                    expected: format!("1 to {most}"),
                });
            }
            next += len;
            index.offsets.push(next);
            index.checks.push([fields.u64_at(4), fields.u64_at(12)]);
        }
        if next != column.shard.bytes {
            return Err(FormatError::FrameIndex {
                field: "the end of the last frame".into(),
                found: next,
                expected: format!("{}, the end of the file", column.shard.bytes),
            });
        }
        Ok(index)
    }

    /// The place of a frame.
    ///
    /// # Panics
    /// If there is no such frame.
    pub fn place(&self, frame: u64) -> FramePlace {
        let frame = usize::try_from(frame).expect("a frame of an index in memory");
        let [checksum, seals] = self.checks[frame];
        FramePlace {
            offset: self.offsets[frame],
            len: narrow(self.offsets[frame + 1] - self.offsets[frame]),
            checksum,
            seals,
        }
    }
}

/// Takes the part of `bytes` bytes that decoders skip from the front of `rest`.
fn skippable<'a>(
    rest: &mut &'a [u8],
    what: &'static str,
    bytes: u64,
) -> Result<&'a [u8], FormatError> {
    let fields = Fields(rest);
    let (magic, found) = (fields.u32_at(0), u64::from(fields.u32_at(4)));
    if magic != SKIPPABLE || found != bytes {
        return Err(FormatError::FrameIndex {
            field: format!("length of {what}, after {SKIPPABLE:08x},"),
            found: if magic == SKIPPABLE {
                found
            } else {
                magic.into()
            },
            expected: bytes.to_string(),
        });
    }
    let end = usize::try_from(SKIPPABLE_BYTES + bytes).expect("it lies in memory");
    let part = &rest[usize::try_from(SKIPPABLE_BYTES).expect("8")..end];
    *rest = &rest[end..];
    Ok(part)
}

const AT_MAGIC: usize = 8;
const AT_VERSION: usize = AT_MAGIC + MAGIC.len();
const AT_DICTIONARY_BYTES: usize = AT_VERSION + 7 * 4;
const AT_FRAME_ROWS: usize = AT_DICTIONARY_BYTES + 4;
const AT_BYTES: usize = AT_FRAME_ROWS + 3 * 8;
const AT_DIGEST: usize = AT_BYTES + 8;
const AT_RESERVED: usize = AT_DIGEST + 3 * 16;
const AT_CHECKSUM: usize = HEADER_BYTES - 8;

const _: () = assert!(
    AT_DIGEST == 80 && AT_RESERVED == 128,
    "FORMAT.md gives these offsets"
);

/// Little-endian fields.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn at<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|i| self.0[at + i])
    }

    fn u32_at(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.at(at))
    }

    fn u64_at(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.at(at))
    }

    fn digest_at(&self, at: usize) -> Digest {
        Digest(u128::from_le_bytes(self.at(at)))
    }

    /// Checks that this is the header of a cold shard that this release knows, undamaged.
    fn check_kind(&self) -> Result<(), FormatError> {
        let found: [u8; 8] = self.at(AT_MAGIC);
        if found != MAGIC {
            return Err(FormatError::Magic {
                found,
                expected: MAGIC,
            });
        }
        let version = self.u32_at(AT_VERSION);
        if version != VERSION {
            return Err(FormatError::Version {
                found: version.into(),
                supported: VERSION,
            });
        }
        let (found, expected) = (xxh3_64(&self.0[..AT_CHECKSUM]), self.u64_at(AT_CHECKSUM));
        if found != expected {
            return Err(FormatError::Checksum {
                what: "header of a cold shard",
                found: format!("{found:016x}"),
                expected: format!("{expected:016x}"),
            });
        }
        Ok(())
    }

    fn named(&self) -> [(&'static str, String); 14] {
        let small = |place: usize| self.u32_at(AT_VERSION + 4 * place).to_string();
        let large = |place: usize| self.u64_at(AT_FRAME_ROWS + 8 * place).to_string();
        let digest = |place: usize| self.digest_at(AT_DIGEST + 16 * place).to_string();
        [
            ("codec", small(1)),
            ("layer", small(2)),
            ("column", small(3)),
            ("order", small(4)),
            ("head", small(5)),
            ("row bytes", small(6)),
            ("dictionary bytes", small(7)),
            ("frame rows", large(0)),
            ("first row", large(1)),
            ("row count", large(2)),
            ("bytes", large(3)),
            ("digest of dictionary and index", digest(0)),
            ("data digest", digest(1)),
            ("rows digest", digest(2)),
        ]
    }
}

fn narrow(bytes: u64) -> u32 {
    u32::try_from(bytes).expect("checked to be below 2^32")
}

#[cfg(test)]
mod tests;
