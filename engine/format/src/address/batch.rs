//! What a lookup asks for.

use crate::ids::{LayerId, RowId};

/// The row requests of one lookup: row ids of one layer, in the order in which the rows are wanted.
///
/// A batch that comes from hashing also knows its n-grams, if [`RowIds`](super::RowIds) was told to
/// keep them: then rows can be looked up by the exact n-gram as well as by its hash.
///
/// ```
/// use engram_format::{Batch, LayerId, RowId};
///
/// let row_ids = [RowId(7), RowId(300)];
/// let batch = Batch::new(LayerId(1), &row_ids);
/// assert_eq!((batch.layer(), batch.len()), (LayerId(1), 2));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    layer: LayerId,
    row_ids: &'a [RowId],
    ngrams: Option<NGrams<'a>>,
}

/// The n-grams of consecutive positions: for each position a window of hashed ids, newest first.
///
/// The first `n` ids of a window are the position's n-gram of order `n`. Ids before the start of the
/// history, or beyond a boundary, are the scheme's fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NGrams<'a> {
    windows: &'a [u32],
    max_order: usize,
    columns: usize,
}

impl<'a> Batch<'a> {
    /// The rows `row_ids` of `layer`.
    pub fn new(layer: LayerId, row_ids: &'a [RowId]) -> Self {
        Self {
            layer,
            row_ids,
            ngrams: None,
        }
    }

    /// The same batch with the n-grams that its rows `[position][column]` were hashed from.
    ///
    /// # Panics
    /// If the batch has not a row for each position and column of `ngrams`.
    #[must_use]
    pub fn with_ngrams(mut self, ngrams: NGrams<'a>) -> Self {
        assert_eq!(
            self.row_ids.len(),
            ngrams.positions() * ngrams.columns,
            "a row for each position and column"
        );
        self.ngrams = Some(ngrams);
        self
    }

    /// The layer whose table is asked.
    pub fn layer(&self) -> LayerId {
        self.layer
    }

    /// The rows wanted, in order.
    pub fn row_ids(&self) -> &'a [RowId] {
        self.row_ids
    }

    /// Rows wanted.
    pub fn len(&self) -> usize {
        self.row_ids.len()
    }

    /// Whether no row is wanted.
    pub fn is_empty(&self) -> bool {
        self.row_ids.is_empty()
    }

    /// The n-grams behind the rows, where the caller gave them.
    pub fn ngrams(&self) -> Option<NGrams<'a>> {
        self.ngrams
    }
}

impl<'a> NGrams<'a> {
    /// Windows `[position][max_order]` of hashed ids, newest first, for rows `[position][column]`.
    ///
    /// # Panics
    /// If `max_order` or `columns` is 0, or the windows are not whole.
    pub fn new(windows: &'a [u32], max_order: usize, columns: usize) -> Self {
        assert!(max_order > 0 && columns > 0, "windows and columns");
        assert!(windows.len().is_multiple_of(max_order), "whole windows");
        Self {
            windows,
            max_order,
            columns,
        }
    }

    /// The largest order of the n-grams.
    pub fn max_order(&self) -> usize {
        self.max_order
    }

    /// Rows of each position.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Positions there are.
    pub fn positions(&self) -> usize {
        self.windows.len() / self.max_order
    }

    /// The window of `position`: hashed ids, newest first.
    ///
    /// # Panics
    /// If there is no such position.
    pub fn window(&self, position: usize) -> &'a [u32] {
        &self.windows[position * self.max_order..][..self.max_order]
    }

    /// The n-gram of `order` tokens behind the row at `index` of the batch, newest token first.
    ///
    /// # Panics
    /// If the batch has no such row, or `order` is above the largest of the scheme.
    pub fn of_row(&self, index: usize, order: u32) -> &'a [u32] {
        let start = index / self.columns * self.max_order;
        &self.windows[start..start + self.max_order][..order as usize]
    }
}
