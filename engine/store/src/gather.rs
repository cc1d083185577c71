//! Copying rows that are in memory.

use engram_format::{Column, RowId};
use engram_io::RowBuffer;

use crate::{
    ahead::{Left, turns},
    cache::RowCache,
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

/// Copies the rows of a batch that are in the `cache` to `out`. `column_of_missing` is asked for the column of
/// every row in order, none where the row is not looked for; `looked` hears of each of the others, in
/// order, its place in the batch, its column and whether it was there.
pub(crate) fn copy_hits(
    cache: Option<&RowCache>,
    batch: &[RowId],
    mut column_of_missing: impl FnMut(RowId) -> Option<usize>,
    out: &mut impl Destination,
    mut looked: impl FnMut(usize, usize, bool),
) {
    let Some(cache) = cache else {
        for (place, &row) in batch.iter().enumerate() {
            if let Some(column) = column_of_missing(row) {
                looked(place, column, false);
            }
        }
        return;
    };
    let mut columns = Left::new(None);
    let mut found = Left::new(None);
    let mut copied = Left::new(None);
    for [later, next, now] in turns(batch.len()) {
        for place in later.clone() {
            columns[place] = column_of_missing(batch[place]);
        }
        for place in later.filter(|&place| columns[place].is_some()) {
            cache.prefetch(batch[place]);
        }
        for place in next.clone() {
            found[place] = columns[place].and_then(|_| cache.find(batch[place]));
        }
        for way in next.filter_map(|place| found[place]) {
            cache.prefetch_row(way);
        }
        for place in now.clone() {
            copied[place] = found[place].map(|way| {
                let stored = out.row(place, |out| cache.copy(way, out));
                (way, stored)
            });
        }
        // Some time after they were copied: the processor would wait for what it has just written.
        for place in now {
            let Some(column) = columns[place] else {
                continue;
            };
            let hit = copied[place].is_some_and(|(way, stored)| {
                out.row(place, |out| cache.confirm(batch[place], way, out, stored))
            });
            looked(place, column, hit);
        }
    }
}
