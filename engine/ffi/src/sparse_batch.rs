//! The rows that one call asks for.

use engram::{Batch, LayerId, LookupError, OwnedBatch, Priority, RowId, RowIds};

use crate::{error_kind::ErrorKind, failure::Failure};

/// A number that callers in other languages have for a row. A negative one, or an unsigned one from 2^63 on, means
/// "no row".
pub trait RowNumber: Copy {
    /// The row id, with the highest bit set if there is no row.
    fn widen(self) -> u64;
}

impl RowNumber for i32 {
    fn widen(self) -> u64 {
        i64::from(self).cast_unsigned()
    }
}

impl RowNumber for i64 {
    fn widen(self) -> u64 {
        self.cast_unsigned()
    }
}

impl RowNumber for u64 {
    fn widen(self) -> u64 {
        self
    }
}

/// The rows that one call asks for: a layer, and row ids in the order in which the rows are wanted, with places that
/// have no row and become zeros. It keeps its memory, so a batch that is set again and again stops allocating.
#[derive(Debug, Default)]
pub struct SparseBatch {
    layer: LayerId,
    priority: Option<Priority>,
    /// Those that are rows.
    row_ids: Vec<RowId>,
    /// Their places in the batch. Empty if every place has a row.
    places: Vec<u32>,
    len: usize,
}

impl SparseBatch {
    /// The layer whose table is asked.
    pub fn layer(&self) -> LayerId {
        self.layer
    }

    /// Places, with a row or without.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The rows that there are.
    pub fn rows(&self) -> Batch<'_> {
        Batch::new(self.layer, &self.row_ids)
    }

    /// The same, owned.
    pub(crate) fn owned_rows(&self) -> OwnedBatch {
        OwnedBatch::new(self.layer, self.row_ids.as_slice().into())
    }

    /// Where they belong, unless every place has a row.
    pub(crate) fn places(&self) -> Option<&[u32]> {
        (self.row_ids.len() < self.len).then_some(&self.places)
    }

    /// Whose reads go first; by the size of the batch if that is not said.
    pub(crate) fn priority(&self) -> Option<Priority> {
        self.priority
    }

    /// Says whose reads go first, from now on.
    pub fn set_priority(&mut self, priority: Option<Priority>) {
        self.priority = priority;
    }

    /// Asks for `row_ids` of `layer`.
    ///
    /// # Errors
    /// More of them than a batch may have; then it has not changed.
    pub fn set<T: RowNumber>(
        &mut self,
        layer: LayerId,
        row_ids: impl ExactSizeIterator<Item = T>,
    ) -> Result<(), Failure> {
        check_len(row_ids.len())?;
        (self.layer, self.len) = (layer, row_ids.len());
        self.row_ids.clear();
        self.places.clear();
        let mut all = 0;
        self.row_ids.extend(row_ids.map(|row_id| {
            let row_id = row_id.widen();
            all |= row_id;
            RowId(row_id)
        }));
        if is_row(all) {
            return Ok(());
        }
        let places = (0..).zip(&self.row_ids);
        let places = places.filter(|(_, row_id)| is_row(row_id.0));
        self.places.extend(places.map(|(place, _)| place));
        self.row_ids.retain(|row_id| is_row(row_id.0));
        Ok(())
    }

    /// Asks for what was hashed: the rows `[position][column]` of `layer`, of `column_count` columns from
    /// `first_column` on.
    ///
    /// # Errors
    /// A layer without a table, columns that there are not, nothing hashed yet, or more rows than a batch may have;
    /// then it has not changed.
    pub fn set_hashed(
        &mut self,
        row_ids: &RowIds,
        layer: LayerId,
        first_column: usize,
        column_count: usize,
    ) -> Result<(), Failure> {
        let (all, columns) = of_layer(row_ids, layer)?;
        let chosen = first_column.checked_add(column_count);
        let Some(chosen) = chosen.filter(|&end| end <= columns) else {
            let problem = format!(
                "{column_count} columns from column {first_column} on are not among the {columns} of layer {layer}"
            );
            return Err(Failure::new(ErrorKind::BadArgument, problem));
        };
        let chosen = first_column..chosen;
        let positions = all.len().checked_div(columns).unwrap_or(0);
        let count = positions * column_count;
        check_len(count)?;
        (self.layer, self.len) = (layer, count);
        self.places.clear();
        self.row_ids.clear();
        if column_count == columns {
            self.row_ids.extend_from_slice(all);
            return Ok(());
        }
        let positions = all.chunks_exact(columns.max(1));
        positions.for_each(|ids| self.row_ids.extend_from_slice(&ids[chosen.clone()]));
        Ok(())
    }
}

fn is_row(row_id: u64) -> bool {
    row_id.cast_signed() >= 0
}

fn check_len(rows: usize) -> Result<(), Failure> {
    u32::try_from(rows).map_err(|_| LookupError::BatchTooLarge { rows })?;
    Ok(())
}

/// The ids of one layer, and how many each position has.
fn of_layer(row_ids: &RowIds, layer: LayerId) -> Result<(&[RowId], usize), Failure> {
    let layers = || row_ids.batches().map(|batch| batch.layer());
    if layers().next().is_none() {
        let problem = "`row_ids` is empty: nothing has been hashed to it";
        return Err(Failure::new(ErrorKind::BadArgument, problem));
    }
    let index = layers().position(|known| known == layer);
    let index = index.ok_or_else(|| LookupError::UnknownLayer {
        layer,
        layers: layers().collect(),
    })?;
    Ok((row_ids.layer(index), row_ids.columns_of(index)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_no_rows_are_left_out() {
        let mut batch = SparseBatch::default();
        let row_ids = [5, u64::MAX, 0, 1 << 63, 7];
        batch.set(LayerId(3), row_ids.into_iter()).unwrap();
        assert_eq!((batch.layer(), batch.len()), (LayerId(3), 5));
        assert_eq!(batch.rows().row_ids(), [5, 0, 7].map(RowId));
        assert_eq!(batch.places(), Some(&[0, 2, 4][..]));
        batch.set(LayerId(3), [1_i32, 2].into_iter()).unwrap();
        assert_eq!((batch.places(), batch.len()), (None, 2));
        batch.set(LayerId(3), [-1_i64].into_iter()).unwrap();
        assert_eq!((batch.places(), batch.rows().len()), (Some(&[][..]), 0));
    }
}
