//! Writes one shard.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use engram_checkpoint::{Checkpoint, SourceTable, ZeroScan};
use engram_format::{
    Column, Digester, FormatError, HEADER_BYTES, NanPlace, RecordLayout, RowCodec, RowId,
    ShardDigests, ShardHeader,
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
    ///
    /// It got its name only once it was whole and on the drive, so its header tells.
    pub(super) fn finished(&self) -> Result<Option<ShardDigests>> {
        let path = &self.path;
        if !path.exists() {
            return Ok(None);
        }
        let context = || format!("{} is no shard of this build; remove it", path.display());
        let reader = PreadReader::open(path)?;
        let (found, expected) = (reader.size(), self.shard_bytes());
        if found != expected {
            return Err(FormatError::Size { found, expected }).with_context(context);
        }
        let mut block = [0; HEADER_BYTES];
        reader.read_at(0, &mut block)?;
        let found = ShardHeader::decode(&block).with_context(context)?;
        let expected = ShardHeader::new(self.table.layer, self.column, self.codec(), found.digests);
        expected.check(&block).with_context(context)?;
        Ok(Some(found.digests))
    }

    /// Builds the shard.
    pub(super) fn run(&self, progress: Progress<'_>) -> Result<ShardDigests> {
        let layout = self.layout();
        let mut source = RowStream::new(self.checkpoint, self.table, self.column.first_row);
        let mut file = NewFile::create(&self.path, self.shard_bytes())?;
        file.write(&[0; HEADER_BYTES])?;

        let chunk_rows = (CHUNK_BYTES / layout.group_bytes()).max(1) * layout.group_records();
        let mut rows = vec![0; chunk_rows * layout.row_bytes()];
        let mut records = Vec::new();
        let (mut of_rows, mut of_data) = (Digester::new(), Digester::new());
        let mut zeros = ZeroScan::new(self.table);
        let mut next = RowId(self.column.first_row);
        let mut left = self.column.row_count;
        while left > 0 {
            self.options.stop.check()?;
            let count = usize::try_from(left).map_or(chunk_rows, |left| left.min(chunk_rows));
            let rows = &mut rows[..count * layout.row_bytes()];
            source.read(rows)?;
            self.check_numbers(next, rows)?;
            zeros.rows(next.0, rows);
            of_rows.update(rows);
            layout.lay_out(self.table.layer, next, rows, &mut records);
            of_data.update(&records);
            file.write(&records)?;
            next.0 += count as u64;
            left -= count as u64;
            progress(rows.len() as u64);
        }

        if !self.options.allow_zeros {
            refuse(self.checkpoint, self.table, &zeros.finish())?;
        }
        let digests = ShardDigests {
            data: of_data.finish(),
            rows: of_rows.finish(),
        };
        let header = ShardHeader::new(self.table.layer, self.column, self.codec(), digests);
        file.overwrite(0, &header.encode())?;
        file.publish()?;
        Ok(digests)
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
