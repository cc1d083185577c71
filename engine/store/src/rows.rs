//! Where the rows of one table are read from.

use std::{path::PathBuf, sync::Arc};

use engram_format::{Column, LayerId, Plane, RecordLayout, RowId, SEAL_BYTES, copy_and_seal, seal};
use engram_io::{IoError, MemoryReader, ReadAt, prefetch};

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
    pub(crate) layer: LayerId,
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
    /// Whether the rows of `column` are in memory, or can be read as if they were.
    #[inline]
    pub(crate) fn holds(&self, column: &Column) -> bool {
        match self {
            Self::Sealed(rows) => {
                !matches!(rows.shards[column.index as usize].reader, ShardReader::Disk)
            }
            Self::Attached(rows) => !rows.sources.is_empty(),
        }
    }

    /// Where `row` of `column` lies.
    #[inline]
    pub(crate) fn locate(&self, column: &Column, row: RowId) -> Located<'_> {
        match self {
            Self::Sealed(rows) => rows.locate(column, row),
            Self::Attached(rows) if rows.sources.is_empty() => Located::Elsewhere,
            Self::Attached(rows) => Located::Parts(rows),
        }
    }
}

/// Where a row lies.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Located<'a> {
    /// Not in memory.
    Elsewhere,
    /// In this record.
    Record(&'a SealedRows, &'a [u8]),
    /// In the record at an offset of a shard.
    Offset(&'a SealedRows, &'a dyn ReadAt, u64),
    /// In tensors.
    Parts(&'a AttachedRows),
}

impl Located<'_> {
    /// Hints that the row is read soon.
    #[inline]
    pub(crate) fn prefetch(self) {
        match self {
            Self::Record(_, record) => prefetch(record),
            Self::Offset(rows, reader, offset) => reader.prefetch(offset, rows.layout.stride()),
            Self::Elsewhere | Self::Parts(_) => {}
        }
    }

    /// Copies the row, which is `row` of its table, to `out`, if it is in memory.
    #[inline]
    pub(crate) fn read(self, row: RowId, check: bool, out: &mut [u8]) -> Result<(), ReadError> {
        match self {
            Self::Elsewhere => Ok(()),
            Self::Record(rows, record) => {
                let (bytes, rest) = record.split_at(out.len());
                if !check {
                    out.copy_from_slice(bytes);
                    return Ok(());
                }
                let stored = rest.last_chunk().expect("a seal ends the record");
                let found = copy_and_seal(rows.layer, row, bytes, out);
                compare(found, *stored)
            }
            Self::Offset(_, reader, offset) if !check => Ok(reader.read_at(offset, out)?),
            Self::Offset(rows, reader, offset) => {
                let mut stored = [0; SEAL_BYTES];
                let padding = rows.layout.stride() - SEAL_BYTES - out.len();
                reader.read_split_at(offset, out, padding, &mut stored)?;
                compare(seal(rows.layer, row, out), stored)
            }
            Self::Parts(rows) => Ok(rows.read(row, out)?),
        }
    }
}

#[inline]
fn compare(found: u64, stored: [u8; SEAL_BYTES]) -> Result<(), ReadError> {
    let expected = u64::from_le_bytes(stored);
    if found == expected {
        Ok(())
    } else {
        Err(ReadError::Damaged { found, expected })
    }
}

/// Why a row in memory could not be copied.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// Its seal is not that of its bytes.
    Damaged { found: u64, expected: u64 },
    /// Its file could not be read.
    Io(IoError),
}

impl From<IoError> for ReadError {
    fn from(error: IoError) -> Self {
        Self::Io(error)
    }
}

impl ReadError {
    /// The error for the caller, of `row` in `column` of `rows`.
    #[cold]
    pub(crate) fn of(self, rows: &Rows, column: &Column, row: RowId) -> LookupError {
        match (self, rows) {
            (Self::Io(error), _) => error.into(),
            (Self::Damaged { found, expected }, Rows::Sealed(rows)) => LookupError::Damaged {
                path: rows.shards[column.index as usize].path.clone(),
                layer: rows.layer,
                row,
                offset: rows.offset(column, row),
                found,
                expected,
            },
            (Self::Damaged { .. }, Rows::Attached(_)) => unreachable!("nothing is sealed there"),
        }
    }
}

impl SealedRows {
    /// Where `row` of `column` lies in the column's shard.
    #[inline]
    fn offset(&self, column: &Column, row: RowId) -> u64 {
        self.layout.record_offset(row.0 - column.first_row)
    }

    #[inline]
    fn locate(&self, column: &Column, row: RowId) -> Located<'_> {
        let offset = self.offset(column, row);
        match &self.shards[column.index as usize].reader {
            ShardReader::Memory(memory) => {
                let start = usize::try_from(offset).expect("it is in memory");
                Located::Record(self, &memory.bytes()[start..start + self.layout.stride()])
            }
            ShardReader::Other(reader) => Located::Offset(self, &**reader, offset),
            ShardReader::Disk => Located::Elsewhere,
        }
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
