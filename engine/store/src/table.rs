//! One table of an open pack.

use std::sync::Arc;

use engram_format::{Column, LayerId, RowCodec, RowId};

use crate::{
    columns::InTurn,
    error::LookupError,
    fetch::{DiskRows, Plan, Want},
    gather::{Destination, Slice, copy_hits, gather},
    metrics::{Counters, add},
    rows::Rows,
};

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) layer: LayerId,
    pub(crate) codec: RowCodec,
    pub(crate) row_count: u64,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Rows,
    /// The columns' rows that are not in memory.
    pub(crate) disk: Option<Arc<DiskRows>>,
    /// Where all rows are in memory.
    pub(crate) counters: Counters,
}

impl Table {
    /// Columns whose rows are read from the drive, past the page cache.
    pub(crate) fn on_disk(&self) -> impl Iterator<Item = &Column> {
        let columns = self.columns.iter();
        columns.filter(|column| self.disk.is_some() && !self.rows.holds(column))
    }

    pub(crate) fn counters(&self) -> &Counters {
        match &self.disk {
            Some(disk) => &disk.counters,
            None => &self.counters,
        }
    }

    /// Bytes of the parts that a row is read in.
    pub(crate) fn parts(&self) -> [usize; 2] {
        match &self.disk {
            Some(disk) => disk.parts(),
            None => [self.codec.row_bytes(), 0],
        }
    }

    /// Checks a batch and the size of its output.
    pub(crate) fn check(&self, rows: &[RowId], found: usize) -> Result<(), LookupError> {
        let row_bytes = self.codec.row_bytes();
        let expected = rows.len() * row_bytes;
        if found != expected {
            return Err(LookupError::OutputSize {
                rows: rows.len(),
                row_bytes,
                expected,
                found,
            });
        }
        match rows.iter().position(|row| row.0 >= self.row_count) {
            None => {
                add(&self.counters().batches, 1);
                add(&self.counters().rows, rows.len() as u64);
                Ok(())
            }
            Some(index) => Err(LookupError::RowOutOfRange {
                layer: self.layer,
                index,
                row: rows[index],
                row_count: self.row_count,
            }),
        }
    }

    /// Copies the rows that are in the cache to `out`, and adds those that are not in memory either to
    /// `plan`.
    pub(crate) fn split(
        &self,
        disk: &DiskRows,
        rows: &[RowId],
        plan: &mut Plan,
        out: &mut Slice<'_>,
    ) {
        let Plan { wants, counts, .. } = plan;
        counts.resize(self.columns.len(), [0; 2]);
        let mut in_turn = InTurn::new(&self.columns);
        let column_of_missing = |row| {
            let column = in_turn.of(row);
            (!self.rows.holds(column)).then_some(column.index as usize)
        };
        let looked = |place: usize, column: usize, hit: bool| {
            let [looks, hits] = &mut counts[column];
            *looks += 1;
            *hits += u32::from(hit);
            if !hit {
                let index = u32::try_from(place).expect("a batch of less than 2^32 rows");
                wants.push(Want {
                    row: rows[place],
                    index,
                    slot: index,
                });
            }
        };
        let cache = disk.cache.as_ref().map(|cache| &cache.rows);
        copy_hits(cache, rows, column_of_missing, out, looked);
    }

    /// Copies the rows that are in memory to their places in `out`.
    pub(crate) fn gather(
        &self,
        rows: &[RowId],
        check: bool,
        out: &mut impl Destination,
    ) -> Result<(), LookupError> {
        gather(&self.rows, &self.columns, rows, check, out)
    }
}
