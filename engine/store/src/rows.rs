//! Where the rows of one table are read from.

use std::{path::PathBuf, sync::Arc};

use engram_format::{Column, Plane, RecordLayout, RowId, SEAL_BYTES, seal};
use engram_io::{IoError, MemoryReader, ReadAt};

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
    pub(crate) reader: ShardReader,
}

/// Where the records of a shard are read from.
#[derive(Debug)]
pub(crate) enum ShardReader {
    /// Its own memory: the path that must be fastest.
    Memory(MemoryReader),
    /// Another reader that can be asked at any time.
    Other(Box<dyn ReadAt>),
    /// The drive, by way of [`crate::fetch`].
    Disk,
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
            Self::Sealed(rows) => {
                !matches!(rows.shards[column.index as usize].reader, ShardReader::Disk)
            }
            Self::Attached(rows) => !rows.sources.is_empty(),
        }
    }

    /// Where `row` of `column` lies in the column's shard; nothing of meaning in an attached pack.
    #[inline]
    pub(crate) fn offset(&self, column: &Column, row: RowId) -> u64 {
        match self {
            Self::Sealed(rows) => rows.layout.record_offset(row.0 - column.first_row),
            Self::Attached(_) => 0,
        }
    }

    /// Hints that `row` of `column`, which lies at `offset`, is read soon.
    #[inline]
    pub(crate) fn prefetch(&self, column: &Column, offset: u64) {
        if let Self::Sealed(rows) = self {
            let stride = rows.layout.stride();
            match &rows.shards[column.index as usize].reader {
                ShardReader::Memory(memory) => memory.prefetch(offset, stride),
                ShardReader::Other(reader) => reader.prefetch(offset, stride),
                ShardReader::Disk => {}
            }
        }
    }

    /// Copies `row` of `column`, which [`Self::holds`] and which lies at `offset`, to `out`.
    #[inline]
    pub(crate) fn read(
        &self,
        column: &Column,
        row: RowId,
        offset: u64,
        check: bool,
        out: &mut [u8],
    ) -> Result<(), LookupError> {
        match self {
            Self::Sealed(rows) => rows.read(column, row, offset, check, out),
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
        offset: u64,
        check: bool,
        out: &mut [u8],
    ) -> Result<(), LookupError> {
        let shard = &self.shards[column.index as usize];
        let stride = self.layout.stride();
        let mut stored = [0; SEAL_BYTES];
        let found = match &shard.reader {
            ShardReader::Memory(memory) => {
                let start = usize::try_from(offset).expect("it is in memory");
                let record = &memory.bytes()[start..start + stride];
                let (bytes, rest) = record.split_at(out.len());
                out.copy_from_slice(bytes);
                if !check {
                    return Ok(());
                }
                stored.copy_from_slice(&rest[rest.len() - SEAL_BYTES..]);
                // From where it lies: what was just written would have to be waited for.
                seal(self.layer, row, bytes)
            }
            ShardReader::Other(reader) => {
                if !check {
                    return Ok(reader.read_at(offset, out)?);
                }
                let padding = stride - SEAL_BYTES - out.len();
                reader.read_split_at(offset, out, padding, &mut stored)?;
                seal(self.layer, row, out)
            }
            ShardReader::Disk => unreachable!("its rows are fetched"),
        };
        let expected = u64::from_le_bytes(stored);
        if found == expected {
            return Ok(());
        }
        Err(LookupError::Damaged {
            path: shard.path.clone(),
            layer: self.layer,
            row,
            offset,
            found,
            expected,
        })
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
