//! Rows of a batch, each once.

use engram::RowId;

use crate::row_index::hash;

/// Gives different rows of a batch consecutive indices, in the order in which they first come. Keeps its memory from
/// batch to batch.
#[derive(Debug, Default)]
pub(crate) struct UniqueRows {
    /// Open addressing, at most half full.
    entries: Vec<Entry>,
    /// The batch that entries belong to; others are free.
    batch: u32,
    row_ids: Vec<RowId>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    row_id: u64,
    batch: u32,
    index: u32,
}

impl UniqueRows {
    /// Begins a batch of up to `max_rows` different rows.
    pub(crate) fn begin(&mut self, max_rows: usize) {
        let entries = (2 * max_rows).next_power_of_two();
        self.row_ids.clear();
        self.batch = self.batch.wrapping_add(1);
        if self.entries.len() < entries || self.batch == 0 {
            self.entries.clear();
            self.entries.resize(entries, Entry::default());
            self.batch = 1;
        }
    }

    /// The index of `row_id` among the different rows of the batch.
    #[inline]
    pub(crate) fn index_of(&mut self, row_id: RowId) -> u32 {
        let mask = self.entries.len() - 1;
        let mut place = hash(row_id.0) & mask;
        loop {
            let entry = &mut self.entries[place];
            if entry.batch != self.batch {
                let index = u32::try_from(self.row_ids.len()).expect("fewer than 2^32 rows");
                *entry = Entry {
                    row_id: row_id.0,
                    batch: self.batch,
                    index,
                };
                self.row_ids.push(row_id);
                return index;
            }
            if entry.row_id == row_id.0 {
                return entry.index;
            }
            place = (place + 1) & mask;
        }
    }

    /// The different rows, by their indices.
    pub(crate) fn row_ids(&self) -> &[RowId] {
        &self.row_ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_numbered_in_order_batch_after_batch() {
        let mut unique = UniqueRows::default();
        for batch in 0..5_u64 {
            unique.begin(1_000);
            // Far apart and side by side, each twice.
            let row_ids = (0..1_000).map(|n| RowId((n % 500) * (1 + batch * 0x1_0000_0001)));
            let indices: Vec<u32> = row_ids.map(|row_id| unique.index_of(row_id)).collect();
            assert!(indices.iter().copied().eq((0..500).chain(0..500)));
            assert_eq!(unique.row_ids().len(), 500);
            assert_eq!(unique.row_ids()[3], RowId(3 * (1 + batch * 0x1_0000_0001)));
        }
    }
}
