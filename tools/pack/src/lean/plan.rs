//! Which bytes of a file stay in a lean checkpoint, and where the others come from.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use engram_checkpoint::Checkpoint;
use engram_format::{Digest, Segment};
use engram_io::{NewFile, PreadReader, ReadAt};

use super::{
    header::{Header, Listed},
    record::{LeanFile, Piece},
};

/// Tensor bytes copied at a time.
const CHUNK_BYTES: usize = 2 << 20;

/// A file of a checkpoint that holds rows.
pub(super) struct LeanPlan {
    file: LeanFile,
    /// Tensors that stay, as (offset in the checkpoint's file, bytes), in the order of both files.
    kept: Vec<(u64, u64)>,
    /// The start of the lean file, up to its tensors' data.
    start: Vec<u8>,
    /// Names and sizes of the others.
    removed: Vec<(String, u64)>,
}

impl LeanPlan {
    /// The plan for the checkpoint's file at index `source`.
    pub(super) fn new(checkpoint: &Checkpoint, source: usize) -> Result<Self> {
        let file = &checkpoint.sources[source];
        let path = checkpoint.folder.join(&file.name);
        let header = Header::read(&path).with_context(|| path.display().to_string())?;
        let tensors = header.tensors()?;
        let is_row_of = |tensor: &Listed<'_>| pieces_of(checkpoint, source, &header, tensor);

        let (mut kept, mut removed, mut offsets) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut kept_bytes = 0;
        let mut pieces = Vec::new();
        for tensor in &tensors {
            let bytes = tensor.end - tensor.start;
            let rows = is_row_of(tensor);
            if rows.is_empty() {
                offsets.insert(tensor.name, [kept_bytes, kept_bytes + bytes]);
                kept.push((header.data_start() + tensor.start, bytes));
                // Counted from the lean file's data, whose place is known once all of its header is.
                pieces.push(Piece::Kept {
                    offset: kept_bytes,
                    bytes,
                });
                kept_bytes += bytes;
            } else {
                removed.push((tensor.name.to_owned(), bytes));
                pieces.extend(rows);
            }
        }
        let start = header.lean(&offsets)?;
        for piece in &mut pieces {
            if let Piece::Kept { offset, .. } = piece {
                *offset += start.len() as u64;
            }
        }
        let file = LeanFile {
            name: file.name.clone(),
            bytes: file.bytes,
            digest: Digest(0),
            header: header.text.clone(),
            pieces,
        };
        Ok(Self {
            file,
            kept,
            start,
            removed,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.file.name
    }

    /// What the record says of the file, whose bytes have that digest.
    pub(super) fn file(&self, digest: Digest) -> LeanFile {
        LeanFile {
            digest,
            ..self.file.clone()
        }
    }

    /// Names of the tensors that are left out.
    pub(super) fn removed(&self) -> impl Iterator<Item = &str> {
        self.removed.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn removed_bytes(&self) -> u64 {
        self.removed.iter().map(|(_, bytes)| bytes).sum()
    }

    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Copies the tensors that stay from the file in `folder` to one in `out`, if there are any.
    pub(super) fn write_kept(&self, folder: &Path, out: &Path) -> Result<()> {
        if self.kept.is_empty() {
            return Ok(());
        }
        let from = PreadReader::open_sequential(&folder.join(self.name()))?;
        let bytes = self.start.len() as u64 + self.kept_bytes();
        let mut to = NewFile::create(&out.join(self.name()), bytes)?;
        to.write(&self.start)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        for &(mut offset, bytes) in &self.kept {
            let end = offset + bytes;
            while offset < end {
                let count = usize::try_from(end - offset)?.min(chunk.len());
                let chunk = &mut chunk[..count];
                from.read_at(offset, chunk)?;
                to.write(chunk)?;
                offset += count as u64;
            }
        }
        Ok(to.publish()?)
    }
}

/// What a tensor of a table is made of; nothing if it is of none.
fn pieces_of(
    checkpoint: &Checkpoint,
    source: usize,
    header: &Header,
    tensor: &Listed<'_>,
) -> Vec<Piece> {
    let is_this =
        |segment: &&Segment| segment.source as usize == source && segment.tensor == tensor.name;
    let mut pieces = Vec::new();
    let mut next = header.data_start() + tensor.start;
    for table in &checkpoint.tables {
        for (plane, place) in table.planes.iter().enumerate() {
            for segment in place.segments.iter().filter(is_this) {
                debug_assert_eq!(segment.offset, next, "rows follow one another");
                pieces.push(Piece::Rows {
                    layer: table.layer,
                    plane,
                    first_row: segment.first_row,
                    row_count: segment.row_count,
                });
                next = segment.offset + segment.row_count * place.row_bytes;
            }
        }
    }
    let left = header.data_start() + tensor.end - next;
    if !pieces.is_empty() && left > 0 {
        pieces.push(Piece::Zeros { bytes: left });
    }
    pieces
}
