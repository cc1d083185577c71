//! Columns in memory.

use std::sync::Arc;

use engram_format::{RecordLayout, SEAL_BYTES, copy_and_seal};
use engram_io::{MemoryReader, prefetch};

use super::{Tier, located::serve_located};
use crate::{
    error::LookupError,
    output::RowsMut,
    resolve::{RowRef, Wanted},
    source::{Source, SourceRows},
};

/// Columns of one table that were loaded when the pack was opened.
#[derive(Debug)]
pub(crate) struct ResidentTier {
    source: Arc<Source>,
    /// What the source knows of the places of rows, without a look at what kind of source it is: that takes a row a
    /// tenth of its time.
    layout: RecordLayout,
    /// By column; none for those that are not in memory.
    shards: Vec<Option<Shard>>,
}

/// A shard in memory.
#[derive(Debug)]
struct Shard {
    memory: MemoryReader,
    /// Row id of its first row.
    first_row: u64,
}

impl ResidentTier {
    /// The tier of the shards in memory, by column; none where `source` has no shards.
    pub(crate) fn new(source: Arc<Source>, shards: Vec<Option<MemoryReader>>) -> Option<Self> {
        let SourceRows::Sealed {
            layout, columns, ..
        } = &source.rows
        else {
            return None;
        };
        let layout = *layout;
        let shards = shards
            .into_iter()
            .zip(columns.iter())
            .map(|(memory, column)| {
                let first_row = column.first_row;
                memory.map(|memory| Shard { memory, first_row })
            });
        let shards = shards.collect();
        Some(Self {
            source,
            layout,
            shards,
        })
    }

    /// The memory of the shard of `column`, if it is here.
    pub(crate) fn memory(&self, column: usize) -> Option<&MemoryReader> {
        self.shards[column].as_ref().map(|shard| &shard.memory)
    }

    #[inline]
    fn record(&self, row: &RowRef) -> Option<&[u8]> {
        let shard = self.shards[usize::from(row.column)].as_ref()?;
        let offset = self.layout.record_offset(row.row_id.0 - shard.first_row);
        let start = usize::try_from(offset).expect("it is in memory");
        Some(&shard.memory.bytes()[start..start + self.layout.stride()])
    }

    #[inline]
    fn copy(
        &self,
        row: &RowRef,
        record: &[u8],
        check: bool,
        out: &mut [u8],
    ) -> Result<(), LookupError> {
        let (bytes, rest) = record.split_at(out.len());
        if !check {
            out.copy_from_slice(bytes);
            return Ok(());
        }
        let stored: &[u8; SEAL_BYTES] = rest.last_chunk().expect("a seal ends the record");
        let found = copy_and_seal(self.source.layer, row.row_id, bytes, out);
        self.source.compare(row, found, u64::from_le_bytes(*stored))
    }

    /// As [`Tier::serve`], with the choice whether seals are checked.
    pub(crate) fn serve_checked(
        &self,
        wanted: &mut Wanted<'_>,
        out: &mut RowsMut<'_>,
        check: bool,
    ) -> Result<(), LookupError> {
        serve_located(
            wanted.list(),
            |row| self.record(row),
            prefetch,
            |row, record| self.copy(row, record, check, out.row(row)),
        )
    }
}

impl Tier for ResidentTier {
    fn serve(&self, wanted: &mut Wanted<'_>, out: &mut RowsMut<'_>) -> Result<(), LookupError> {
        self.serve_checked(wanted, out, self.source.check_seals)
    }
}
