//! The cache of one table, and which of its columns' rows go there.

use engram_format::{Column, RowId};

use super::{Admission, RowCache};

/// A cache of one table's rows.
#[derive(Debug)]
pub(crate) struct TableCache {
    pub(crate) rows: RowCache,
    /// The first row of each column, and whether its rows are taken in.
    columns: Vec<(u64, Admission)>,
}

impl TableCache {
    /// `on_disk` of the `columns` share the cache.
    pub(crate) fn new(rows: RowCache, columns: &[Column], on_disk: usize) -> Self {
        let share = rows.capacity() / on_disk.max(1);
        let columns = columns.iter();
        Self {
            columns: columns
                .map(|column| (column.first_row, Admission::new(column.order, share)))
                .collect(),
            rows,
        }
    }

    /// Takes `row` in, where its column's rows are worth keeping.
    pub(crate) fn offer(&self, row: RowId, bytes: &[u8], seal: u64) {
        let next = self.columns.partition_point(|&(first, _)| first <= row.0);
        if let Some(lives) = self.columns[next - 1].1.lives(row.0) {
            self.rows.insert(row, lives, bytes, seal);
        }
    }

    /// Counts looks at the rows of the column at `index`, and hits among them.
    pub(crate) fn count(&self, index: usize, looks: u32, hits: u32) {
        self.columns[index].1.count(looks, hits);
    }
}
