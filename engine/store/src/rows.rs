//! Where the rows of one table are read from.

use std::{path::PathBuf, sync::Arc};

use engram_format::{Column, Plane, RecordLayout, RowId, SEAL_BYTES, seal};
use engram_io::{IoError, ReadAt};

use crate::error::LookupError;

/// Rows of one table, wherever they lie.
#[derive(Debug)]
pub(crate) enum Rows {
    /// Records in one shard for each column.
    Sealed(SealedRows),
    /// Parts in the tensors of a checkpoint.
    Attached(AttachedRows),
}

/// The shards of a table.
#[derive(Debug)]
pub(crate) struct SealedRows {
    pub(crate) layer: u32,
    pub(crate) layout: RecordLayout,
    pub(crate) shards: Vec<Shard>,
}

/// One open shard.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) path: PathBuf,
    /// None where rows are read past the page cache.
    pub(crate) reader: Option<Box<dyn ReadAt>>,
}

/// The tensors of a table in the checkpoint's own files.
#[derive(Debug)]
pub(crate) struct AttachedRows {
    pub(crate) planes: Vec<Plane>,
    pub(crate) sources: Arc<[Box<dyn ReadAt>]>,
}

impl Rows {
    /// Whether the rows of `column` can be had by [`Self::read`].
    #[inline]
    pub(crate) fn holds(&self, column: &Column) -> bool {
        match self {
            Self::Sealed(rows) => rows.shards[column.index as usize].reader.is_some(),
            Self::Attached(rows) => !rows.sources.is_empty(),
        }
    }

    /// Hints that `row` of `column` is read soon.
    #[inline]
    pub(crate) fn prefetch(&self, column: &Column, row: RowId) {
        if let Self::Sealed(rows) = self {
            let shard = &rows.shards[column.index as usize];
            let offset = rows.layout.record_offset(row.0 - column.first_row);
            if let Some(reader) = &shard.reader {
                reader.prefetch(offset, rows.layout.stride());
            }
        }
    }

    /// Copies `row` of `column`, which [`Self::holds`], to `out`.
    #[inline]
    pub(crate) fn read(
        &self,
        column: &Column,
        row: RowId,
        check: bool,
        out: &mut [u8],
    ) -> Result<(), LookupError> {
        match self {
            Self::Sealed(rows) => rows.read(column, row, check, out),
            Self::Attached(rows) => Ok(rows.read(row, out)?),
        }
    }
}

impl SealedRows {
    #[inline]
    fn read(
        &self,
        column: &Column,
        row: RowId,
        check: bool,
        out: &mut [u8],
    ) -> Result<(), LookupError> {
        let shard = &self.shards[column.index as usize];
        let offset = self.layout.record_offset(row.0 - column.first_row);
        let reader = shard.reader.as_ref().expect("the column is in memory");
        if !check {
            return Ok(reader.read_at(offset, out)?);
        }
        let padding = self.layout.stride() - SEAL_BYTES - out.len();
        let mut stored = [0; SEAL_BYTES];
        reader.read_split_at(offset, out, padding, &mut stored)?;
        let (found, expected) = (seal(self.layer, row, out), u64::from_le_bytes(stored));
        if found != expected {
            return Err(LookupError::Damaged {
                path: shard.path.clone(),
                layer: self.layer,
                row,
                offset,
                found,
                expected,
            });
        }
        Ok(())
    }
}

impl AttachedRows {
    pub(crate) fn read(&self, row: RowId, mut out: &mut [u8]) -> Result<(), IoError> {
        for plane in &self.planes {
            let segment = plane.segment_of(row);
            let offset = segment.offset + (row.0 - segment.first_row) * plane.row_bytes;
            let bytes = usize::try_from(plane.row_bytes).expect("a part of a row fits memory");
            let (part, rest) = out.split_at_mut(bytes);
            self.sources[segment.source as usize].read_at(offset, part)?;
            out = rest;
        }
        Ok(())
    }
}
