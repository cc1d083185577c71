//! The manifest of a pack (FORMAT.md, "Manifest").

mod canonical;
mod check;
mod cold;
mod stripes;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    FORMAT_VERSION,
    address::{Column, HashRule, LayerScheme, Scheme},
    codec::RowCodec,
    cold::{COLD_EXTENSION, ColdColumn, ColdTable},
    digest::{Digest, Digester, ShardDigests},
    error::FormatError,
    extent::Extent,
    header::ShardHeader,
    ids::{LayerId, RowId},
    layout::RecordLayout,
};
pub(crate) use canonical::canonical;
pub use check::MAX_SEGMENTS;
pub use stripes::{MAX_STRIPES, PACK_FOLDER, Stripes};

/// Name of the manifest in a pack's folder.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Name of the token map in a pack's folder: little-endian u32, one for each raw token id.
pub const TOKEN_MAP_FILE: &str = "token_map.u32le";

/// Size in bytes of the largest manifest that is read or written.
///
/// A column takes about 100 bytes of a packed pack's manifest and a tensor about 150. So there is room for 100,000
/// of either, where the largest known models have hundreds, and a hostile file cannot fill the memory.
pub const MAX_MANIFEST_BYTES: u64 = 16 << 20;
/// The most bytes that may precede the tensors' data in a file of a checkpoint.
pub const MAX_SOURCE_HEADER_BYTES: u64 = 256 << 20;

const FORMAT: &str = "engram-pack";

/// The version of packs that have nothing of what came later.
const PLAIN: u32 = 1;
/// The version of packs with stripes.
const STRIPED: u32 = 2;

/// Everything that a pack says of itself, apart from the rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// How tokens address rows.
    pub scheme: Scheme,
    /// The token map file, if the scheme hashes compressed ids.
    pub token_map: Option<TokenMapFile>,
    /// Where the rows lie.
    pub storage: Storage,
    /// The checkpoint files that the rows come from.
    pub sources: Vec<SourceFile>,
    /// Which folders the shards lie in, where that is not the pack's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripes: Option<Stripes>,
    /// One table for each layer of the scheme, in its order.
    pub tables: Vec<Table>,
}

/// The token map that belongs to a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenMapFile {
    /// Raw token ids.
    pub entries: u64,
    /// Digest of the file.
    pub digest: Digest,
}

/// Where the rows of a pack lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Storage {
    /// In shards of sealed records, one for each column.
    Packed,
    /// In Zstandard frames, a file for each column, from which the shards of a packed pack can be made again.
    Cold {
        /// One for each table.
        tables: Vec<ColdTable>,
    },
    /// In the checkpoint's own files.
    Attached {
        /// Absolute path of the checkpoint's folder when it was attached.
        checkpoint: String,
    },
}

/// One safetensors or GGUF file of the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// File name in the checkpoint's folder.
    pub name: String,
    /// Size of the file.
    pub bytes: u64,
    /// Digest of its first bytes up to the tensors' data.
    pub header_digest: Digest,
    /// Those bytes; none in a safetensors file, which begins with their number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_bytes: Option<u64>,
}

/// The table of one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The model's layer id.
    pub layer: LayerId,
    /// How its rows are encoded.
    pub codec: RowCodec,
    /// How they are encoded in the checkpoint, where they were converted since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_codec: Option<RowCodec>,
    /// Where the parts of a row lie in the checkpoint: values, then scales where they have their own
    /// tensor.
    pub planes: Vec<Plane>,
    /// Digests of each column's shard, in a cold pack of the one that can be made again; empty in an attached pack.
    pub shards: Vec<ShardDigests>,
    /// Known rows, by which an attached pack is checked; empty otherwise.
    pub samples: Vec<Sample>,
}

/// The part of each row that comes from one kind of tensor: the values, or the scales, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plane {
    /// Bytes a row.
    pub row_bytes: u64,
    /// The tensors, in row order.
    pub segments: Vec<Segment>,
}

/// Consecutive rows in one tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Name of the tensor.
    pub tensor: String,
    /// Index in [`Manifest::sources`].
    pub source: u32,
    /// Offset of its first row in that file.
    pub offset: u64,
    /// Row id of its first row.
    pub first_row: u64,
    /// Number of its rows.
    pub row_count: u64,
}

/// A row whose seal is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Row id.
    pub row: u64,
    /// Its [`seal`](crate::seal()).
    pub seal: u64,
}

/// How the names of shards end.
const SHARD_EXTENSION: &str = ".shard";

/// Path of a packed shard in the folder of its pack or stripe.
pub fn shard_path(layer: LayerId, column: &Column) -> String {
    format!(
        "layer-{:02}/order-{}-head-{}{SHARD_EXTENSION}",
        layer.0, column.order, column.head
    )
}

impl Plane {
    /// The segment that holds `row`.
    ///
    /// # Panics
    /// If the plane has no segments; those of a checked manifest cover every row of the table.
    pub fn segment_of(&self, row: RowId) -> &Segment {
        let next = self
            .segments
            .partition_point(|segment| segment.first_row <= row.0);
        &self.segments[next - 1]
    }

    /// Where the plane's part of `row` lies; the file is an index in [`Manifest::sources`].
    ///
    /// # Panics
    /// As [`Self::segment_of`].
    #[inline]
    pub fn extent(&self, row: RowId) -> Extent {
        self.extent_in(self.segment_of(row), row, 1)
    }

    /// Where the parts of up to `rows` rows from `first` on lie, as far as they follow one another in one
    /// tensor, and how many rows those are.
    ///
    /// # Panics
    /// As [`Self::segment_of`]; if no row is wanted.
    pub fn extent_of_rows(&self, first: RowId, rows: u64) -> (Extent, u64) {
        assert!(rows > 0, "an extent of at least one row");
        let segment = self.segment_of(first);
        let rows = rows.min(segment.first_row + segment.row_count - first.0);
        (self.extent_in(segment, first, rows), rows)
    }

    fn extent_in(&self, segment: &Segment, first: RowId, rows: u64) -> Extent {
        Extent {
            file: segment.source,
            offset: segment.offset + (first.0 - segment.first_row) * self.row_bytes,
            len: usize::try_from(rows * self.row_bytes).expect("memory holds the rows asked for"),
        }
    }
}

impl Table {
    /// Geometry of the records.
    pub fn layout(&self) -> RecordLayout {
        RecordLayout::new(self.codec.row_bytes())
    }

    /// The header that the shard of `column` must have.
    ///
    /// # Panics
    /// If the table has no shards.
    pub fn header(&self, column: Column) -> ShardHeader {
        ShardHeader::new(
            self.layer,
            column,
            self.codec,
            self.shards[column.index as usize],
        )
    }
}

impl Manifest {
    /// The file's text: canonical JSON that carries its own checksum.
    ///
    /// # Panics
    /// Never: the types above always serialize.
    pub fn to_text(&self) -> String {
        let mut root = serde_json::to_value(self).expect("plain data serializes");
        root["format"] = FORMAT.into();
        root["version"] = self.version().into();
        root["checksum"] = Digest::of(canonical(&root).as_bytes()).to_string().into();
        canonical(&root) + "\n"
    }

    /// The oldest version of the format that can say what it has, so that older releases read what they can. The newest
    /// is for cold packs, converted rows, and schemes with columns of order 1 or factors of its own for each column.
    fn version(&self) -> u32 {
        let layers = &self.scheme.layers;
        let per_column = |layer: &LayerScheme| matches!(layer.hash, HashRule::PerColumn { .. });
        let is_cold = matches!(self.storage, Storage::Cold { .. });
        let is_converted = (self.tables.iter()).any(|table| table.source_codec.is_some());
        let has_new_scheme = self.scheme.max_order < 2 || layers.iter().any(per_column);
        if is_cold || is_converted || has_new_scheme {
            FORMAT_VERSION
        } else if self.stripes.is_some() {
            STRIPED
        } else {
            PLAIN
        }
    }

    /// Path of the file of a column in the folder of its pack or stripe.
    pub fn shard_path(&self, layer: LayerId, column: &Column) -> String {
        let path = shard_path(layer, column);
        match self.storage {
            Storage::Cold { .. } => path.replace(SHARD_EXTENSION, COLD_EXTENSION),
            Storage::Packed | Storage::Attached { .. } => path,
        }
    }

    /// The file of `column` of the table at index `table`; none where the pack is not cold.
    ///
    /// # Panics
    /// If a cold pack has no such column.
    pub fn cold_column(&self, table: usize, column: Column) -> Option<ColdColumn> {
        let Storage::Cold { tables } = &self.storage else {
            return None;
        };
        let (cold, table) = (&tables[table], &self.tables[table]);
        Some(ColdColumn {
            header: table.header(column),
            frame_rows: cold.frame_rows,
            shard: cold.shards[column.index as usize],
        })
    }

    /// Reads and checks a manifest.
    ///
    /// The checksum is verified on the text itself and the fields are read straight into their types, so a hostile
    /// file costs no more memory than a multiple of its size, which [`MAX_MANIFEST_BYTES`] limits.
    ///
    /// # Errors
    /// A text longer than [`MAX_MANIFEST_BYTES`] or not canonical JSON, another format or version, a checksum that
    /// does not match, unknown or missing fields, or values that contradict one another.
    pub fn from_text(text: &[u8]) -> Result<Self, FormatError> {
        if text.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(FormatError::TooLong {
                what: "manifest",
                found: text.len() as u64,
                most: MAX_MANIFEST_BYTES,
            });
        }
        Head::read(text)?.check()?;
        check_checksum(text)?;
        let manifest: Self = serde_json::from_slice(text).map_err(unreadable)?;
        // Unknown keys are skipped above, and a list would pass for an object: both show here.
        if manifest.to_text().as_bytes() != text {
            return Err(FormatError::Manifest {
                reason: "it is not canonical JSON of exactly the keys that a manifest of its version has".into(),
            });
        }
        manifest.check()?;
        Ok(manifest)
    }
}

/// What any version of a manifest says of itself, read before everything else.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Head<'a> {
    #[serde(borrow)]
    format: Option<Cow<'a, str>>,
    version: Option<u64>,
}

impl<'a> Head<'a> {
    fn read(text: &'a [u8]) -> Result<Self, FormatError> {
        serde_json::from_slice(text).map_err(unreadable)
    }

    fn check(&self) -> Result<(), FormatError> {
        let fault = |field: &str, found: Option<String>, expected: &str| {
            Err(FormatError::ManifestField {
                field: field.into(),
                found: found.unwrap_or_else(|| "missing".into()),
                expected: expected.into(),
            })
        };
        if self.format.as_deref() != Some(FORMAT) {
            let found = self.format.as_ref().map(|format| format!("{format:?}"));
            return fault("format", found, FORMAT);
        }
        match self.version {
            None | Some(0) => {
                let found = self.version.map(|version| version.to_string());
                fault("version", found, "a whole number from 1 on")
            }
            Some(version) if version <= u64::from(FORMAT_VERSION) => Ok(()),
            Some(found) => Err(FormatError::Version {
                found,
                supported: FORMAT_VERSION,
            }),
        }
    }
}

/// Checks the checksum of `text`. Canonical form puts its key first, and it covers everything else.
fn check_checksum(text: &[u8]) -> Result<(), FormatError> {
    let split = || {
        let (stored, rest) = text
            .strip_prefix(br#"{"checksum":""#)?
            .split_at_checked(32)?;
        let covered = rest.strip_prefix(b"\",")?.strip_suffix(b"\n")?;
        Some((str::from_utf8(stored).ok()?, covered))
    };
    let Some((expected, covered)) = split() else {
        return Err(FormatError::Manifest {
            reason:
                "it is not canonical JSON that begins with a checksum; it was edited or damaged"
                    .into(),
        });
    };
    let mut digester = Digester::new();
    digester.update(b"{");
    digester.update(covered);
    let found = digester.finish().to_string();
    if found != expected {
        return Err(FormatError::Checksum {
            what: "manifest",
            found,
            expected: expected.into(),
        });
    }
    Ok(())
}

fn unreadable(error: serde_json::Error) -> FormatError {
    FormatError::Manifest {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
