//! Columns in memory, for those who read them by themselves.

use std::{num::NonZeroUsize, thread};

use engram_format::{Batch, Column, LayerId, RecordLayout, RowId};
use engram_io::{ReadAt, parallel};

use super::Store;
use crate::{
    error::LookupError,
    lookup::{Scratch, Table},
    output::Output,
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
    /// Whether it was loaded for this process alone. Else it is mapped to be read, and whoever may write its
    /// file can change it.
    pub is_private: bool,
}

impl Store {
    /// The columns of `layer` whose shards are in memory, loaded or mapped, and how records lie in each of
    /// them. None in an attached pack, nor with [tiers](crate::Config::tier) of the caller's, which may serve
    /// other rows in their place.
    ///
    /// # Errors
    /// A layer without a table.
    pub fn resident_columns(
        &self,
        layer: LayerId,
    ) -> Result<(RecordLayout, Vec<ResidentColumn>), LookupError> {
        let table = self.table(layer)?;
        let columns = if self.own_tiers.is_empty() {
            &*table.columns
        } else {
            &[]
        };
        let resident = columns.iter().enumerate().filter_map(|(index, &column)| {
            let loaded = table.resident.as_ref().and_then(|tier| tier.memory(index));
            let (memory, is_private) = match loaded {
                Some(memory) => (memory.memory(), true),
                None => (table.reader.as_ref()?.memory(index), false),
            };
            let (address, bytes) = memory?;
            Some(ResidentColumn {
                column,
                address,
                bytes,
                is_private,
            })
        });
        Ok((
            RecordLayout::new(table.codec.row_bytes()),
            resident.collect(),
        ))
    }

    /// Checks the seals of all rows of `layer` that are in memory, with all processors, whether or not
    /// lookups check them.
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
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        parallel::map(threads, &chunks, |&(start, end)| {
            check_rows(table, start, end)
        })?;
        Ok(())
    }
}

/// Checks the seals of the rows from `start` to before `end` that are in memory.
fn check_rows(table: &Table, start: u64, end: u64) -> Result<(), LookupError> {
    let row_ids: Vec<RowId> = (start..end).map(RowId).collect();
    let mut out = vec![0; row_ids.len() * table.codec.row_bytes()];
    let mut output = Output::new(table.codec, None, &mut out);
    let batch = Batch::new(table.layer, &row_ids);
    table.serve_pieces(
        batch,
        &mut output,
        &mut Scratch::default(),
        |wanted, rows| {
            if let Some(resident) = &table.resident {
                resident.serve_checked(wanted, rows, true)?;
            }
            if let Some(reader) = &table.reader {
                reader.serve_checked(wanted, rows, true)?;
            }
            Ok(())
        },
    )
}
