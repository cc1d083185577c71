//! Batches that own their row ids.

use std::sync::Arc;

use super::{Batch, RowIds};
use crate::ids::{LayerId, RowId};

/// A [`Batch`] that shares its row ids with others instead of borrowing them, so that whoever answers it can keep it
/// and nothing is copied when it is asked for.
///
/// ```
/// use std::sync::Arc;
///
/// use engram_format::{LayerId, OwnedBatch, RowId};
///
/// let row_ids: Arc<[RowId]> = Arc::new([RowId(7), RowId(300)]);
/// let batch = OwnedBatch::new(LayerId(1), row_ids);
/// assert_eq!((batch.layer(), batch.len()), (LayerId(1), 2));
/// ```
#[derive(Debug, Clone)]
pub struct OwnedBatch(Rows);

#[derive(Debug, Clone)]
enum Rows {
    Of(LayerId, Arc<[RowId]>),
    /// Of the layer at this index.
    Hashed(usize, Arc<RowIds>),
}

impl OwnedBatch {
    /// The rows `row_ids` of `layer`.
    pub fn new(layer: LayerId, row_ids: Arc<[RowId]>) -> Self {
        Self(Rows::Of(layer, row_ids))
    }

    /// The same batch, borrowed.
    pub fn as_batch(&self) -> Batch<'_> {
        match &self.0 {
            Rows::Of(layer, row_ids) => Batch::new(*layer, row_ids),
            Rows::Hashed(index, row_ids) => row_ids.batch_at(*index),
        }
    }

    /// The layer whose table is asked.
    pub fn layer(&self) -> LayerId {
        self.as_batch().layer()
    }

    /// Rows wanted.
    pub fn len(&self) -> usize {
        self.as_batch().len()
    }

    /// Whether no row is wanted.
    pub fn is_empty(&self) -> bool {
        self.as_batch().is_empty()
    }
}

impl RowIds {
    /// The batch of each layer, in the scheme's order, with n-grams if they were kept. The batches share the ids.
    pub fn into_batches(self) -> impl ExactSizeIterator<Item = OwnedBatch> {
        let row_ids = Arc::new(self);
        (0..row_ids.layer_count())
            .map(move |index| OwnedBatch(Rows::Hashed(index, row_ids.clone())))
    }
}
