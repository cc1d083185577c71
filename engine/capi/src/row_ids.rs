//! What hashing gives.

use std::ptr;

use engram::{LayerId, RowIds};

use crate::{
    border::{ask, give, take_back},
    call::call,
    error::engram_error,
    status::engram_status,
};

/// Row ids that were hashed: for each layer, `[position][column]`. It keeps its memory from call to call.
#[derive(Debug, Default)]
pub struct engram_row_ids {
    ids: RowIds,
}

impl engram_row_ids {
    /// The memory that row ids are hashed to.
    pub(crate) fn ids_mut(&mut self) -> &mut RowIds {
        &mut self.ids
    }

    /// What was hashed.
    pub(crate) fn ids(&self) -> &RowIds {
        &self.ids
    }
}

/// Makes an empty list of row ids. Free it with `engram_row_ids_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_row_ids_new(
    row_ids: *mut *mut engram_row_ids,
    error: *mut *mut engram_error,
) -> engram_status {
    // SAFETY: the pointers are NULL or may be written to.
    unsafe {
        call(error, || {
            give(row_ids, engram_row_ids::default(), "row_ids")
        })
    }
}

/// Positions that the last call hashed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_row_ids_positions(row_ids: *const engram_row_ids) -> usize {
    ask(0, || {
        // SAFETY: the pointer is NULL or a list that nobody changes meanwhile.
        let row_ids = unsafe { row_ids.as_ref() };
        row_ids.map_or(0, |row_ids| row_ids.ids.positions())
    })
}

/// The row ids of `layer`, `[position][column]`, as many as positions times `engram_layer_column_count`. They are the
/// list's, and stay as they are until it is hashed to again or freed. NULL if the layer has no table or nothing was
/// hashed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_row_ids_of_layer(
    row_ids: *const engram_row_ids,
    layer: u32,
) -> *const u64 {
    ask(ptr::null(), || {
        // SAFETY: the pointer is NULL or a list that nobody changes meanwhile.
        let row_ids = unsafe { row_ids.as_ref() };
        let batch = row_ids.and_then(|row_ids| row_ids.ids.batch(LayerId(layer)));
        // A row id has the layout of its number.
        batch.map_or(ptr::null(), |batch| batch.row_ids().as_ptr().cast())
    })
}

/// Frees a list of row ids. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_row_ids_free(row_ids: *mut engram_row_ids) {
    // SAFETY: it is NULL, or was given by `engram_row_ids_new` and is used no more.
    unsafe { take_back(row_ids) };
}
