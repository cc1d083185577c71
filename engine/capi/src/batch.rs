//! The rows that one call asks for.

use engram::{Batch, LayerId, LookupError, OwnedBatch, Priority, RowId};

use crate::{
    border::{exclusive, give, shared, take_back, values},
    call::call,
    error::engram_error,
    failure::Failure,
    row_ids::engram_row_ids,
    status::engram_status::{self, ENGRAM_BAD_ARGUMENT},
};

/// Whose reads go first: one of the four constants below.
pub type engram_priority = u32;

/// Decided by the size of the batch: up to 1,024 rows are taken for a decode step, more for a prompt.
pub const ENGRAM_BY_SIZE: engram_priority = 0;
/// Rows for the next token of somebody who waits.
pub const ENGRAM_DECODE: engram_priority = 1;
/// Rows of a prompt.
pub const ENGRAM_PREFILL: engram_priority = 2;
/// Rows that nobody waits for.
pub const ENGRAM_WARM: engram_priority = 3;

/// The rows that one call asks for: a layer, and row ids in the order in which the rows are wanted. It keeps its
/// memory, so a batch that is set again and again stops allocating. Any number of threads may ask for the rows of one
/// batch while none of them changes it.
#[derive(Debug, Default)]
pub struct engram_batch {
    layer: LayerId,
    priority: Option<Priority>,
    /// Those that are rows.
    row_ids: Vec<RowId>,
    /// Their places in the batch. Empty if every place has a row.
    places: Vec<u32>,
    len: usize,
}

impl engram_batch {
    pub(crate) fn layer(&self) -> LayerId {
        self.layer
    }

    pub(crate) fn priority(&self) -> Option<Priority> {
        self.priority
    }

    /// Places, with a row or without.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The rows that there are.
    pub(crate) fn rows(&self) -> Batch<'_> {
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

    /// Asks for `row_ids`. Those with the highest bit set are no rows.
    fn set(&mut self, layer: u32, row_ids: impl ExactSizeIterator<Item = u64>) {
        (self.layer, self.len) = (LayerId(layer), row_ids.len());
        self.row_ids.clear();
        self.places.clear();
        let mut all = 0;
        self.row_ids.extend(row_ids.map(|row_id| {
            all |= row_id;
            RowId(row_id)
        }));
        if is_row(all) {
            return;
        }
        let places = (0..).zip(&self.row_ids);
        let places = places.filter(|(_, row_id)| is_row(row_id.0));
        self.places.extend(places.map(|(place, _)| place));
        self.row_ids.retain(|row_id| is_row(row_id.0));
    }
}

fn is_row(row_id: u64) -> bool {
    row_id.cast_signed() >= 0
}

/// Sets a batch to the row ids of a C array.
///
/// # Safety
/// As `engram_batch_set_i32` and its like.
unsafe fn set<T: Copy>(
    batch: *mut engram_batch,
    layer: u32,
    row_ids: *const T,
    count: usize,
    widen: impl Fn(T) -> u64,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the caller's promise.
        let batch = unsafe { exclusive(batch, "batch")? };
        if u32::try_from(count).is_err() {
            return Err(LookupError::BatchTooLarge { rows: count }.into());
        }
        // SAFETY: the caller's promise.
        let row_ids = unsafe { values(row_ids, count, "row_ids")? };
        batch.set(layer, row_ids.iter().map(|&row_id| widen(row_id)));
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { call(error, run) }
}

/// Makes an empty batch of layer 0. Free it with `engram_batch_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_batch_new(
    batch: *mut *mut engram_batch,
    error: *mut *mut engram_error,
) -> engram_status {
    // SAFETY: the pointer may be written to.
    unsafe { call(error, || give(batch, engram_batch::default(), "batch")) }
}

/// Asks for `count` rows of `layer`, the model's id of it. A negative id means "no row": its place in the output is
/// filled with zeros. Ids are copied, so the array may change afterwards. Whether the layer and the rows exist is
/// checked when the rows are asked for.
///
/// Errors: `ENGRAM_BATCH_TOO_LARGE`; then the batch has not changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_batch_set_i32(
    batch: *mut engram_batch,
    layer: u32,
    row_ids: *const i32,
    count: usize,
    error: *mut *mut engram_error,
) -> engram_status {
    let widen = |row_id| i64::from(row_id).cast_unsigned();
    // SAFETY: the caller's promise.
    unsafe { set(batch, layer, row_ids, count, widen, error) }
}

/// As `engram_batch_set_i32`, with ids of 64 bits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_batch_set_i64(
    batch: *mut engram_batch,
    layer: u32,
    row_ids: *const i64,
    count: usize,
    error: *mut *mut engram_error,
) -> engram_status {
    // SAFETY: the caller's promise.
    unsafe { set(batch, layer, row_ids, count, i64::cast_unsigned, error) }
}

/// As `engram_batch_set_i32`, with unsigned ids of 64 bits. "No row" is every id from 2^63 on, such as `UINT64_MAX`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_batch_set_u64(
    batch: *mut engram_batch,
    layer: u32,
    row_ids: *const u64,
    count: usize,
    error: *mut *mut engram_error,
) -> engram_status {
    // SAFETY: the caller's promise.
    unsafe { set(batch, layer, row_ids, count, |row_id| row_id, error) }
}

/// Asks for what was hashed: the rows `[position][column]` of `layer`, of the `column_count` columns from
/// `first_column` on. All columns of a layer are 0 and `engram_layer_column_count`; a rank of a tensor-parallel model
/// takes its own, or opens no others by the option `columns`. Ids are copied.
///
/// Errors: `ENGRAM_UNKNOWN_LAYER`; `ENGRAM_BAD_ARGUMENT` for columns that there are not, or if nothing has been hashed
/// yet; `ENGRAM_BATCH_TOO_LARGE`. Then the batch has not changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_batch_set_hashed(
    batch: *mut engram_batch,
    row_ids: *const engram_row_ids,
    layer: u32,
    first_column: usize,
    column_count: usize,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the pointers are NULL or objects that nobody else changes meanwhile.
        let batch = unsafe { exclusive(batch, "batch")? };
        // SAFETY: as above.
        let row_ids = unsafe { shared(row_ids, "row_ids")? };
        let (all, columns) = row_ids.of_layer(LayerId(layer))?;
        let chosen = first_column.checked_add(column_count);
        let Some(chosen) = chosen.filter(|&end| end <= columns) else {
            let problem = format!(
                "{column_count} columns from column {first_column} on are not among the {columns} of layer {layer}"
            );
            return Err(Failure::new(ENGRAM_BAD_ARGUMENT, problem));
        };
        let chosen = first_column..chosen;
        let positions = all.len().checked_div(columns).unwrap_or(0);
        let count = positions * column_count;
        if u32::try_from(count).is_err() {
            return Err(LookupError::BatchTooLarge { rows: count }.into());
        }
        (batch.layer, batch.len) = (LayerId(layer), count);
        batch.places.clear();
        batch.row_ids.clear();
        let positions = all.chunks_exact(columns.max(1));
        positions.for_each(|ids| batch.row_ids.extend_from_slice(&ids[chosen.clone()]));
        Ok(())
    };
    // SAFETY: the pointer is NULL or may be written to.
    unsafe { call(error, run) }
}

/// Says whose reads go first, from now on. A new batch has `ENGRAM_BY_SIZE`. Reads of a higher priority begin before
/// those of a lower one that wait, whoever asked earlier.
///
/// Errors: `ENGRAM_BAD_ARGUMENT` for an unknown constant.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_batch_set_priority(
    batch: *mut engram_batch,
    priority: engram_priority,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the pointer is NULL or a batch that nobody else uses meanwhile.
        let batch = unsafe { exclusive(batch, "batch")? };
        batch.priority = match priority {
            ENGRAM_BY_SIZE => None,
            ENGRAM_DECODE => Some(Priority::Decode),
            ENGRAM_PREFILL => Some(Priority::Prefill),
            ENGRAM_WARM => Some(Priority::Warm),
            _ => {
                let problem = format!(
                    "`priority` is {priority}, expected ENGRAM_BY_SIZE, ENGRAM_DECODE, ENGRAM_PREFILL or ENGRAM_WARM"
                );
                return Err(Failure::new(ENGRAM_BAD_ARGUMENT, problem));
            }
        };
        Ok(())
    };
    // SAFETY: the pointer is NULL or may be written to.
    unsafe { call(error, run) }
}

/// Frees a batch. Tickets that were asked for with it do not need it. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_batch_free(batch: *mut engram_batch) {
    // SAFETY: it is NULL, or was given by `engram_batch_new` and is used no more.
    unsafe { take_back(batch) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_no_rows_are_left_out() {
        let mut batch = engram_batch::default();
        let row_ids = [5, u64::MAX, 0, 1 << 63, 7];
        batch.set(3, row_ids.into_iter());
        assert_eq!((batch.layer(), batch.len()), (LayerId(3), 5));
        assert_eq!(batch.rows().row_ids(), [5, 0, 7].map(RowId));
        assert_eq!(batch.places(), Some(&[0, 2, 4][..]));
        batch.set(3, [1, 2].into_iter());
        assert_eq!((batch.places(), batch.len()), (None, 2));
        batch.set(3, [u64::MAX].into_iter());
        assert_eq!((batch.places(), batch.rows().len()), (Some(&[][..]), 0));
    }
}
