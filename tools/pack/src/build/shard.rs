//! Writes one shard.

use anyhow::{Result, bail};
use engram_checkpoint::{Checkpoint, SourceTable, ZeroScan};
use engram_format::{NanPlace, RowId, ShardDigests};

use super::{BuildOptions, rows::RowStream, shard_file::ShardFile, zeros::refuse};
use crate::Progress;

/// One shard to be built.
pub(super) struct ShardJob<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) file: ShardFile,
    pub(super) table: &'a SourceTable,
    pub(super) options: &'a BuildOptions,
}

impl ShardJob<'_> {
    /// Builds the shard.
    pub(super) fn run(&self, progress: Progress<'_>) -> Result<ShardDigests> {
        let column = self.file.column;
        let row_bytes = self.file.codec.row_bytes();
        let mut source = RowStream::new(self.checkpoint, self.table, column.first_row);
        let mut shard = self.file.create()?;
        let chunk_rows = self.file.chunk_rows();
        let mut rows = vec![0; chunk_rows * row_bytes];
        let mut zeros = ZeroScan::new(self.table);
        let mut next = RowId(column.first_row);
        let mut left = column.row_count;
        while left > 0 {
            self.options.stop.check()?;
            let count = usize::try_from(left).map_or(chunk_rows, |left| left.min(chunk_rows));
            let rows = &mut rows[..count * row_bytes];
            source.read(rows)?;
            self.check_numbers(next, rows)?;
            zeros.rows(next.0, rows);
            shard.write(rows)?;
            next.0 += count as u64;
            left -= count as u64;
            progress(rows.len() as u64);
        }
        if !self.options.allow_zeros {
            refuse(self.checkpoint, self.table, &zeros.finish())?;
        }
        shard.finish()
    }

    fn check_numbers(&self, first: RowId, rows: &[u8]) -> Result<()> {
        if self.options.allow_nan {
            return Ok(());
        }
        let codec = self.file.codec;
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
