//! The rows that one call asks for.

use engram::{LayerId, Priority};
use engram_ffi::{ErrorKind, Failure, RowNumber, SparseBatch};

use crate::{
    border::{exclusive, give, shared, take_back, values},
    call::call,
    error::engram_error,
    row_ids::engram_row_ids,
    status::engram_status,
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
    batch: SparseBatch,
}

impl engram_batch {
    pub(crate) fn batch(&self) -> &SparseBatch {
        &self.batch
    }
}

/// Sets a batch to the row ids of a C array.
///
/// # Safety
/// As `engram_batch_set_i32` and its like.
unsafe fn set<T: RowNumber>(
    batch: *mut engram_batch,
    layer: u32,
    row_ids: *const T,
    count: usize,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the caller's promise.
        let (batch, row_ids) = unsafe {
            (
                exclusive(batch, "batch")?,
                values(row_ids, count, "row_ids")?,
            )
        };
        batch.batch.set(LayerId(layer), row_ids.iter().copied())
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
    // SAFETY: the caller's promise.
    unsafe { set(batch, layer, row_ids, count, error) }
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
    unsafe { set(batch, layer, row_ids, count, error) }
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
    unsafe { set(batch, layer, row_ids, count, error) }
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
        let layer = LayerId(layer);
        batch
            .batch
            .set_hashed(row_ids.ids(), layer, first_column, column_count)
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
        batch.batch.set_priority(match priority {
            ENGRAM_BY_SIZE => None,
            ENGRAM_DECODE => Some(Priority::Decode),
            ENGRAM_PREFILL => Some(Priority::Prefill),
            ENGRAM_WARM => Some(Priority::Warm),
            _ => {
                let problem = format!(
                    "`priority` is {priority}, expected ENGRAM_BY_SIZE, ENGRAM_DECODE, ENGRAM_PREFILL or ENGRAM_WARM"
                );
                return Err(Failure::new(ErrorKind::BadArgument, problem));
            }
        });
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
