//! Columns in memory.

use std::sync::Arc;

use engram_format::{SEAL_BYTES, copy_and_seal};
use engram_io::{MemoryReader, prefetch};

use super::{Tier, located::serve_located};
use crate::{
    error::LookupError,
    output::RowsMut,
    resolve::{RowRef, Wanted},
    source::Source,
};

/// Columns of one table that were loaded when the pack was opened.
#[derive(Debug)]
pub(crate) struct ResidentTier {
    source: Arc<Source>,
    /// By column; none for those that are not in memory.
    shards: Vec<Option<MemoryReader>>,
}

impl ResidentTier {
    pub(crate) fn new(source: Arc<Source>, shards: Vec<Option<MemoryReader>>) -> Self {
        Self { source, shards }
    }

    /// The memory of the shard of `column`, if it is here.
    pub(crate) fn memory(&self, column: usize) -> Option<&MemoryReader> {
        self.shards[column].as_ref()
    }

    #[inline]
    fn record(&self, row: &RowRef) -> Option<&[u8]> {
        let shard = self.shards[usize::from(row.column)].as_ref()?;
        let extent = self.source.extent(row, 0);
        let start = usize::try_from(extent.offset).expect("it is in memory");
        Some(&shard.bytes()[start..start + extent.len])
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
