//! Copying rows that are in memory.

use engram_format::{Column, RowId};
use engram_io::RowBuffer;

use crate::{
    ahead::{Left, turns},
    columns::{self, InTurn},
    error::LookupError,
    rows::{Located, Rows},
};

/// Where rows are copied to.
pub(crate) trait Destination {
    /// Lets `write` fill the row at `index` of the batch.
    fn row<R>(&mut self, index: usize, write: impl FnOnce(&mut [u8]) -> R) -> R;
}

/// Rows one after another in the caller's memory.
#[derive(Debug)]
pub(crate) struct Slice<'a> {
    pub(crate) out: &'a mut [u8],
    pub(crate) row_bytes: usize,
}

impl Destination for Slice<'_> {
    #[inline]
    fn row<R>(&mut self, index: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        let start = index * self.row_bytes;
        write(&mut self.out[start..start + self.row_bytes])
    }
}

impl Destination for &RowBuffer {
    #[inline]
    fn row<R>(&mut self, index: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        self.fill_row(index, write)
    }
}

/// Copies the rows of a batch that are in memory to `out`.
pub(crate) fn gather(
    rows: &Rows,
    columns: &[Column],
    batch: &[RowId],
    check: bool,
    out: &mut impl Destination,
) -> Result<(), LookupError> {
    let mut in_turn = InTurn::new(columns);
    let mut located = Left::new(Located::Elsewhere);
    for [next, now] in turns(batch.len()) {
        for place in next.clone() {
            let row = batch[place];
            located[place] = rows.locate(in_turn.of(row), row);
        }
        for place in next {
            located[place].prefetch();
        }
        for place in now {
            let (row, located) = (batch[place], located[place]);
            if matches!(located, Located::Elsewhere) {
                continue;
            }
            out.row(place, |out| located.read(row, check, out))
                .map_err(|error| error.of(rows, columns::find(columns, row), row))?;
        }
    }
    Ok(())
}
