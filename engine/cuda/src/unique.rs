//! Rows of a batch, each once.

use engram::RowId;

/// Numbers different rows in the order in which they first come. Keeps its memory from batch to batch.
#[derive(Debug, Default)]
pub(crate) struct Unique {
    /// Open addressing, at most half full.
    entries: Vec<Entry>,
    /// The batch that entries belong to; others are free.
    batch: u32,
    rows: Vec<RowId>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    row: u64,
    batch: u32,
    index: u32,
}

impl Unique {
    /// Forgets all rows and makes room for `most`.
    pub(crate) fn begin(&mut self, most: usize) {
        let entries = (2 * most).next_power_of_two();
        self.rows.clear();
        self.batch = self.batch.wrapping_add(1);
        if self.entries.len() < entries || self.batch == 0 {
            self.entries.clear();
            self.entries.resize(entries, Entry::default());
            self.batch = 1;
        }
    }

    /// The number of `row`.
    #[inline]
    pub(crate) fn number(&mut self, row: RowId) -> u32 {
        let mask = self.entries.len() - 1;
        let mut place = crate::hot::hash(row.0) & mask;
        loop {
            let entry = &mut self.entries[place];
            if entry.batch != self.batch {
                let index = u32::try_from(self.rows.len()).expect("a batch of less than 2^32 rows");
                *entry = Entry {
                    row: row.0,
                    batch: self.batch,
                    index,
                };
                self.rows.push(row);
                return index;
            }
            if entry.row == row.0 {
                return entry.index;
            }
            place = (place + 1) & mask;
        }
    }

    /// The rows by their numbers.
    pub(crate) fn rows(&self) -> &[RowId] {
        &self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_numbered_in_order_batch_after_batch() {
        let mut unique = Unique::default();
        for batch in 0..5_u64 {
            unique.begin(1_000);
            // Far apart and side by side, each twice.
            let rows = (0..1_000).map(|n| RowId((n % 500) * (1 + batch * 0x1_0000_0001)));
            let numbers: Vec<u32> = rows.map(|row| unique.number(row)).collect();
            assert!(numbers.iter().copied().eq((0..500).chain(0..500)));
            assert_eq!(unique.rows().len(), 500);
            assert_eq!(unique.rows()[3], RowId(3 * (1 + batch * 0x1_0000_0001)));
        }
    }
}
