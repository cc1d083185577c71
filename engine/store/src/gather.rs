//! Copying rows that are in memory.

use engram_format::{Column, RowId};
use engram_io::RowBuffer;

use crate::{ahead::Ahead, error::LookupError, rows::Rows};

/// Rows whose memory is on its way while another is copied and checked.
const ROWS_AHEAD: usize = 8;

/// A row and its column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) column: &'a Column,
    pub(crate) row: RowId,
}

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

/// Copies the rows at `places` of a batch, all of them in memory, to `out`.
pub(crate) fn gather<'a>(
    rows: &Rows,
    places: impl Iterator<Item = (usize, Place<'a>)>,
    check: bool,
    out: &mut impl Destination,
) -> Result<(), LookupError> {
    let places = places.map(|(index, place)| {
        let offset = rows.offset(place.column, place.row);
        rows.prefetch(place.column, offset);
        (index, place, offset)
    });
    for (index, place, offset) in Ahead::<_, ROWS_AHEAD>::new(places) {
        out.row(index, |out| {
            rows.read(place.column, place.row, offset, check, out)
        })?;
    }
    Ok(())
}
