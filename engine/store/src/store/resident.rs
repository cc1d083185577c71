//! Columns in memory, for those who read them by themselves.

use std::{
    num::NonZeroUsize,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use engram_format::{Column, LayerId, RecordLayout, RowId};
use engram_io::ReadAt;

use super::Store;
use crate::{
    error::LookupError,
    gather::Slice,
    rows::{Rows, ShardReader},
};

/// Rows checked at a time.
const CHECKED_ROWS: usize = 16_384;

/// A column whose shard is in memory as long as its store is open.
#[derive(Debug, Clone, Copy)]
pub struct ResidentColumn {
    /// The column.
    pub column: Column,
    /// The first byte of the shard, its header.
    pub address: *const u8,
    /// Bytes of the shard.
    pub bytes: usize,
    /// Whether it was loaded for this process alone. Else it is mapped to be read, and whoever may write its file can
    /// change it.
    pub is_private: bool,
}

impl Store {
    /// The columns of `layer` whose shards are in memory, loaded or mapped, and how records lie in each of them. None
    /// in an attached pack.
    ///
    /// # Errors
    /// A layer without a table.
    pub fn resident_columns(
        &self,
        layer: LayerId,
    ) -> Result<(RecordLayout, Vec<ResidentColumn>), LookupError> {
        let table = self.table(layer)?;
        let Rows::Sealed(rows) = &table.rows else {
            return Ok((RecordLayout::new(table.codec.row_bytes()), Vec::new()));
        };
        let columns = table.columns.iter().zip(&rows.shards);
        let resident = columns.filter_map(|(&column, shard)| {
            let (memory, is_private) = match &shard.reader {
                ShardReader::Memory(memory) => (memory.memory(), true),
                ShardReader::Other(reader) => (reader.memory(), false),
                ShardReader::Disk => (None, false),
            };
            let (address, bytes) = memory?;
            Some(ResidentColumn {
                column,
                address,
                bytes,
                is_private,
            })
        });
        Ok((rows.layout, resident.collect()))
    }

    /// Checks the seals of all rows of `layer` that are in memory, with all processors.
    ///
    /// # Errors
    /// A layer without a table, or the first damaged record that was found.
    pub fn check_resident(&self, layer: LayerId) -> Result<(), LookupError> {
        let table = self.table(layer)?;
        let columns = self.resident_columns(layer)?.1;
        let chunks: Vec<(u64, u64)> = columns
            .iter()
            .flat_map(|ResidentColumn { column, .. }| {
                let end = column.first_row + column.row_count;
                let starts = (column.first_row..end).step_by(CHECKED_ROWS);
                starts.map(move |start| (start, end.min(start + CHECKED_ROWS as u64)))
            })
            .collect();
        let next = AtomicUsize::new(0);
        let damage = Mutex::new(None);
        let work = || {
            let mut out = vec![0; CHECKED_ROWS * table.codec.row_bytes()];
            while let Some(&(start, end)) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                let rows: Vec<RowId> = (start..end).map(RowId).collect();
                let mut out = Slice {
                    out: &mut out,
                    row_bytes: table.codec.row_bytes(),
                };
                if let Err(error) = table.gather(&rows, true, &mut out) {
                    let mut damage = damage.lock().unwrap_or_else(PoisonError::into_inner);
                    damage.get_or_insert(error);
                    next.store(chunks.len(), Ordering::Relaxed);
                }
            }
        };
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        thread::scope(|scope| {
            for _ in 1..threads.min(chunks.len()) {
                scope.spawn(work);
            }
            work();
        });
        let damage = damage.into_inner();
        damage
            .unwrap_or_else(PoisonError::into_inner)
            .map_or(Ok(()), Err)
    }
}
