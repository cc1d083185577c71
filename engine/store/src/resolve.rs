//! From row ids to their columns, once for each row of a batch.

use engram_format::{Batch, Column, LayerId, NGrams, RowId};

/// One row of a batch, with the column that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct RowRef {
    /// The row in its layer's table.
    pub row_id: RowId,
    /// Its place in the batch.
    pub index: u32,
    /// Index of its column among those of the layer that are open.
    pub column: u16,
}

impl RowRef {
    /// A row that is wanted for itself, not for a place in a batch.
    pub(crate) fn alone(row_id: RowId, column: u16) -> Self {
        Self {
            row_id,
            index: 0,
            column,
        }
    }
}

/// The rows of a piece of a batch that no tier has served yet.
#[derive(Debug)]
pub struct Wanted<'a> {
    batch: Batch<'a>,
    columns: &'a [Column],
    list: &'a mut WantedList,
}

/// The memory of a [`Wanted`], kept from piece to piece.
#[derive(Debug, Default)]
pub(crate) struct WantedList {
    pub(crate) rows: Vec<RowRef>,
    /// Counts of the tier that is at work, by column or file.
    counts: Vec<[u32; 2]>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(batch: Batch<'a>, columns: &'a [Column], list: &'a mut WantedList) -> Self {
        Self {
            batch,
            columns,
            list,
        }
    }

    /// The layer whose rows are wanted.
    pub fn layer(&self) -> LayerId {
        self.batch.layer()
    }

    /// The columns of the layer's table that are open.
    pub fn columns(&self) -> &'a [Column] {
        self.columns
    }

    /// The rows that are still wanted, in the order of the batch.
    pub fn rows(&self) -> &[RowRef] {
        &self.list.rows
    }

    /// The n-gram that `row` was hashed from, newest token first; none where the batch carries none.
    pub fn ngram(&self, row: &RowRef) -> Option<&'a [u32]> {
        let order = self.columns[usize::from(row.column)].order;
        let ngrams = self.batch.ngrams()?;
        Some(ngrams.of_row(row.index as usize, order))
    }

    /// The n-grams of all positions of the batch; none where it carries none.
    pub fn ngrams(&self) -> Option<NGrams<'a>> {
        self.batch.ngrams()
    }

    /// Calls `serve` with the rows at `places` of [`Self::rows`], in order, and takes them off the list: for tiers that
    /// have few of the rows.
    ///
    /// # Panics
    /// If a place is not a row's, or not after the one before.
    pub fn serve_places(
        &mut self,
        places: impl IntoIterator<Item = usize>,
        mut serve: impl FnMut(&RowRef),
    ) {
        let rows = &mut self.list.rows;
        // Rows before `left` stay; those from `next` on have not been looked at.
        let (mut left, mut next) = (0, 0);
        for place in places {
            serve(&rows[place]);
            rows.copy_within(next..place, left);
            left += place - next;
            next = place + 1;
        }
        if next > 0 {
            rows.copy_within(next.., left);
            rows.truncate(left + rows.len() - next);
        }
    }

    /// Calls `serve` with each row that is still wanted, and takes those off the list for which it
    /// returns true.
    ///
    /// # Errors
    /// The first error of `serve`; that row and those after it stay on the list.
    pub fn serve_each<E>(
        &mut self,
        mut serve: impl FnMut(&RowRef) -> Result<bool, E>,
    ) -> Result<(), E> {
        let rows = &mut self.list.rows;
        let mut left = 0;
        for place in 0..rows.len() {
            let row = rows[place];
            match serve(&row) {
                Ok(true) => {}
                Ok(false) => {
                    rows[left] = row;
                    left += 1;
                }
                Err(error) => {
                    rows.drain(left..place);
                    return Err(error);
                }
            }
        }
        rows.truncate(left);
        Ok(())
    }

    /// The list itself, for tiers that look ahead in it.
    pub(crate) fn list(&mut self) -> &mut Vec<RowRef> {
        &mut self.list.rows
    }

    /// The list, and memory for counts.
    pub(crate) fn list_and_counts(&mut self) -> (&mut Vec<RowRef>, &mut Vec<[u32; 2]>) {
        (&mut self.list.rows, &mut self.list.counts)
    }
}

/// Finds the columns of rows that most likely come as a hashed batch has them: each column in turn.
#[derive(Debug)]
pub(crate) struct ColumnCursor<'a> {
    columns: &'a [Column],
    likely: usize,
}

impl<'a> ColumnCursor<'a> {
    pub(crate) fn new(columns: &'a [Column]) -> Self {
        Self { columns, likely: 0 }
    }

    /// Puts the rows `row_ids`, which are rows of the table, in the place of those in `rows`. The first
    /// has the place `first` in its batch.
    pub(crate) fn resolve(&mut self, row_ids: &[RowId], first: u32, rows: &mut Vec<RowRef>) {
        rows.clear();
        rows.extend((first..).zip(row_ids).map(|(index, &row_id)| RowRef {
            row_id,
            index,
            column: self.column_of(row_id),
        }));
    }

    /// The index of the column of the next row of the batch.
    #[inline]
    fn column_of(&mut self, row: RowId) -> u16 {
        let index = self.likely;
        let likely = &self.columns[index];
        self.likely = if index + 1 == self.columns.len() {
            0
        } else {
            index + 1
        };
        let found = if row.0.wrapping_sub(likely.first_row) < likely.row_count {
            index
        } else {
            search(self.columns, row)
        };
        u16::try_from(found).expect("a scheme has at most 1,024 columns")
    }
}

fn search(columns: &[Column], row: RowId) -> usize {
    columns.partition_point(|column| column.first_row <= row.0) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        let sizes = [3, 5, 2];
        let mut first_row = 0;
        (0..)
            .zip(sizes)
            .map(|(index, row_count)| {
                let column = Column {
                    index,
                    order: index + 2,
                    head: 0,
                    first_row,
                    row_count,
                };
                first_row += row_count;
                column
            })
            .collect()
    }

    #[test]
    fn rows_find_their_column_in_turn_and_out_of_it() {
        let columns = columns();
        let mut cursor = ColumnCursor::new(&columns);
        let mut rows = Vec::new();
        for ids in [vec![0, 3, 8, 2, 7, 9], vec![9, 9, 0, 4, 1], vec![]] {
            let row_ids: Vec<RowId> = ids.iter().copied().map(RowId).collect();
            cursor.resolve(&row_ids, 10, &mut rows);
            let expected: Vec<RowRef> = (10..)
                .zip(&row_ids)
                .map(|(index, &row_id)| RowRef {
                    row_id,
                    index,
                    column: u16::from(row_id.0 >= 3) + u16::from(row_id.0 >= 8),
                })
                .collect();
            assert_eq!(rows, expected);
        }
    }

    #[test]
    fn served_rows_leave_the_list_and_the_others_keep_their_order() {
        let columns = columns();
        let row_ids = [0, 3, 8, 1].map(RowId);
        let windows = [10, 11, 12, 13, 20, 21, 22, 23].to_vec();
        let ngrams = engram_format::NGrams::new(&windows, 4, 2);
        let batch = Batch::new(LayerId(7), &row_ids).with_ngrams(ngrams);
        let mut list = WantedList::default();
        ColumnCursor::new(&columns).resolve(&row_ids, 0, &mut list.rows);
        let mut wanted = Wanted::new(batch, &columns, &mut list);
        assert_eq!(wanted.ngram(&wanted.rows()[2]), Some(&[20, 21, 22, 23][..]));
        assert_eq!(wanted.ngram(&wanted.rows()[3]), Some(&[20, 21][..]));
        let served = wanted.serve_each(|row| Ok::<_, ()>(row.index % 2 == 0));
        assert_eq!(served, Ok(()));
        let left: Vec<u64> = wanted.rows().iter().map(|row| row.row_id.0).collect();
        assert_eq!((left, wanted.layer()), (vec![3, 1], LayerId(7)));
        assert_eq!(wanted.serve_each(|_| Err("stop")), Err("stop"));
    }

    #[test]
    fn rows_at_places_leave_the_list_and_the_others_keep_their_order() {
        let columns = columns();
        let row_ids: Vec<RowId> = (0..6).map(RowId).collect();
        for places in [vec![], vec![0], vec![5], vec![1, 2, 4], (0..6).collect()] {
            let mut list = WantedList::default();
            ColumnCursor::new(&columns).resolve(&row_ids, 0, &mut list.rows);
            let mut wanted = Wanted::new(Batch::new(LayerId(7), &row_ids), &columns, &mut list);
            let mut served = Vec::new();
            wanted.serve_places(places.iter().copied(), |row| {
                served.push(row.index as usize)
            });
            assert_eq!(served, places);
            let left: Vec<usize> = wanted.rows().iter().map(|row| row.index as usize).collect();
            let expected = (0..6).filter(|place| !places.contains(place));
            assert_eq!(left, expected.collect::<Vec<usize>>());
        }
    }
}
