//! Writes one shard.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use engram_checkpoint::{Checkpoint, SourceTable, ZeroScan};
use engram_format::{
    Column, Digester, FormatError, HEADER_BYTES, LayerId, NanPlace, RecordLayout, RowCodec, RowId,
    SEAL_BYTES, ShardDigests, ShardHeader, seal,
};
use engram_io::{NewFile, PreadReader, ReadAt};

use super::{BuildOptions, rows::RowStream, zeros::refuse};
use crate::Progress;

/// Shard bytes written at a time; memory is bounded by about three times this for each job.
const CHUNK_BYTES: usize = 2 << 20;

/// One shard to be built.
pub(super) struct ShardJob<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    /// Its final path.
    pub(super) path: PathBuf,
    pub(super) table: &'a SourceTable,
    pub(super) column: Column,
    pub(super) options: &'a BuildOptions,
}

impl ShardJob<'_> {
    /// The folder of the pack or of the stripe that it is for.
    pub(super) fn folder(&self) -> &Path {
        let folder = self.path.ancestors().nth(2);
        folder.expect("a shard lies in the folder of its layer")
    }

    fn codec(&self) -> RowCodec {
        self.table.codec
    }

    fn layout(&self) -> RecordLayout {
        RecordLayout::new(self.codec().row_bytes())
    }

    /// Bytes of the column's rows.
    pub(super) fn row_bytes(&self) -> u64 {
        self.column.row_count * self.codec().row_bytes() as u64
    }

    /// Bytes of the shard.
    pub(super) fn shard_bytes(&self) -> u64 {
        self.layout().shard_bytes(self.column.row_count)
    }

    /// The digests of the shard where an earlier build has finished it.
    pub(super) fn finished(&self) -> Result<Option<ShardDigests>> {
        finished_shard(&self.path, self.table.layer, self.column, self.codec())
    }

    /// Builds the shard.
    pub(super) fn run(&self, progress: Progress<'_>) -> Result<ShardDigests> {
        let mut source = RowStream::new(self.checkpoint, self.table, self.column.first_row);
        let mut zeros = ZeroScan::new(self.table);
        let (layer, codec) = (self.table.layer, self.codec());
        let file = ShardFile::write(&self.path, layer, self.column, codec, |first, rows| {
            self.options.stop.check()?;
            source.read(rows)?;
            self.check_numbers(first, rows)?;
            zeros.rows(first.0, rows);
            progress(rows.len() as u64);
            Ok(())
        })?;
        if !self.options.allow_zeros {
            refuse(self.checkpoint, self.table, &zeros.finish())?;
        }
        file.publish()
    }

    fn check_numbers(&self, first: RowId, rows: &[u8]) -> Result<()> {
        if self.options.allow_nan {
            return Ok(());
        }
        let codec = self.codec();
        for (row, bytes) in (first.0..).zip(rows.chunks_exact(codec.row_bytes())) {
            let planes = &self.table.planes;
            let (plane, what) = match codec.find_nan(bytes) {
                None => continue,
                Some(NanPlace::Value(place)) => (&planes[0], format!("value {place}")),
                // Scales may lie with the values.
                Some(NanPlace::Scale(place)) => (
                    planes.get(1).unwrap_or(&planes[0]),
                    format!("scale {place}"),
                ),
            };
            let segment = plane.segment_of(RowId(row));
            bail!(
                "tensor `{}`: {what} of row {} (row {row} of layer {}) is not a number; \
                 pass --allow-nan to keep it",
                segment.tensor,
                row - segment.first_row,
                self.table.layer,
            );
        }
        Ok(())
    }
}

/// The digests of the shard at `path` where it is finished already.
///
/// It got its name only once it was whole and on the drive, so its header tells.
pub(crate) fn finished_shard(
    path: &Path,
    layer: LayerId,
    column: Column,
    codec: RowCodec,
) -> Result<Option<ShardDigests>> {
    if !path.exists() {
        return Ok(None);
    }
    let context = || format!("{} is no shard of this build; remove it", path.display());
    let reader = PreadReader::open(path)?;
    let layout = RecordLayout::new(codec.row_bytes());
    let (found, expected) = (reader.size(), layout.shard_bytes(column.row_count));
    if found != expected {
        return Err(FormatError::Size { found, expected }).with_context(context);
    }
    let mut block = [0; HEADER_BYTES];
    reader.read_at(0, &mut block)?;
    let found = ShardHeader::decode(&block).with_context(context)?;
    let expected = ShardHeader::new(layer, column, codec, found.digests);
    expected.check(&block).with_context(context)?;
    Ok(Some(found.digests))
}

/// A shard that has all of its rows, and no name yet.
pub(crate) struct ShardFile {
    file: NewFile,
    header: ShardHeader,
}

impl ShardFile {
    /// Writes the rows that `read` fills memory with: it is given the first row of those, in order.
    ///
    /// # Errors
    /// That of `read`, or a file that cannot be written.
    pub(crate) fn write(
        path: &Path,
        layer: LayerId,
        column: Column,
        codec: RowCodec,
        mut read: impl FnMut(RowId, &mut [u8]) -> Result<()>,
    ) -> Result<Self> {
        let layout = RecordLayout::new(codec.row_bytes());
        let mut file = NewFile::create(path, layout.shard_bytes(column.row_count))?;
        file.write(&[0; HEADER_BYTES])?;

        let chunk_rows = (CHUNK_BYTES / layout.group_bytes()).max(1) * layout.group_records();
        let mut rows = vec![0; chunk_rows * layout.row_bytes()];
        let mut records = Vec::new();
        let (mut of_rows, mut of_data) = (Digester::new(), Digester::new());
        let mut next = RowId(column.first_row);
        let mut left = column.row_count;
        while left > 0 {
            let count = usize::try_from(left).map_or(chunk_rows, |left| left.min(chunk_rows));
            let rows = &mut rows[..count * layout.row_bytes()];
            read(next, rows)?;
            of_rows.update(rows);
            lay_out(&layout, layer, next, rows, &mut records);
            of_data.update(&records);
            file.write(&records)?;
            next.0 += count as u64;
            left -= count as u64;
        }
        let digests = ShardDigests {
            data: of_data.finish(),
            rows: of_rows.finish(),
        };
        let header = ShardHeader::new(layer, column, codec, digests);
        Ok(Self { file, header })
    }

    /// Gives it its name, with all of it on the drive.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn publish(mut self) -> Result<ShardDigests> {
        self.file.overwrite(0, &self.header.encode())?;
        self.file.publish()?;
        Ok(self.header.digests)
    }
}

/// Lays `rows` out as records in whole groups.
fn lay_out(
    layout: &RecordLayout,
    layer: LayerId,
    first: RowId,
    rows: &[u8],
    records: &mut Vec<u8>,
) {
    let row_bytes = layout.row_bytes();
    let groups = (rows.len() / row_bytes).div_ceil(layout.group_records());
    records.clear();
    records.resize(groups * layout.group_bytes(), 0);
    let slots = records
        .chunks_exact_mut(layout.group_bytes())
        .flat_map(|group| group.chunks_exact_mut(layout.stride()));
    for ((row, bytes), record) in (first.0..).zip(rows.chunks_exact(row_bytes)).zip(slots) {
        record[..row_bytes].copy_from_slice(bytes);
        let seal = seal(layer, RowId(row), bytes).to_le_bytes();
        record[layout.stride() - SEAL_BYTES..].copy_from_slice(&seal);
    }
}
