//! The columns that rows belong to.

use engram_format::{Column, RowId};

/// Finds the columns of rows that most likely come as a hashed batch has them: each column in turn.
#[derive(Debug)]
pub(crate) struct InTurn<'a> {
    columns: &'a [Column],
    likely: usize,
}

impl<'a> InTurn<'a> {
    pub(crate) fn new(columns: &'a [Column]) -> Self {
        Self { columns, likely: 0 }
    }

    /// The column of the next row of the batch, which is a row of the table.
    #[inline]
    pub(crate) fn of(&mut self, row: RowId) -> &'a Column {
        let likely = &self.columns[self.likely];
        self.likely += 1;
        if self.likely == self.columns.len() {
            self.likely = 0;
        }
        if row.0.wrapping_sub(likely.first_row) < likely.row_count {
            return likely;
        }
        find(self.columns, row)
    }
}

/// The column of `row`, which is a row of the table.
pub(crate) fn find(columns: &[Column], row: RowId) -> &Column {
    let next = columns.partition_point(|column| column.first_row <= row.0);
    &columns[next - 1]
}
