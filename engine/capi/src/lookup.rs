//! Rows that the caller waits for.

use std::ffi::c_void;

use engram_ffi::{Memory, Target};

use crate::{
    batch::engram_batch,
    border::shared,
    call::call,
    error::engram_error,
    status::engram_status,
    store::engram_store,
    value_type::{engram_value_type, value_type},
};

/// Copies the rows of `batch` to `out`, in its order, and waits for those that have to be read.
///
/// `value_type` says whether rows are handed out as stored or decoded; decoded ones need memory that is aligned for
/// their values. `out` has `out_bytes` bytes, at least those of the rows. `row_stride` is the distance in bytes from
/// the start of a row to that of the next, or 0 for rows that touch one another: then rows in memory are copied or
/// decoded right to their places, without a copy between; with a larger stride there is one. What lies between rows is
/// not touched. Rows whose id is negative are zeros.
///
/// Any number of threads may look rows up at the same time.
///
/// Errors: `ENGRAM_UNKNOWN_LAYER`, `ENGRAM_OUTPUT_SIZE`, `ENGRAM_MISALIGNED`, `ENGRAM_BAD_ARGUMENT`,
/// `ENGRAM_NULL_ARGUMENT`; then `out` is not written to. `ENGRAM_ROW_OUT_OF_RANGE`,
/// `ENGRAM_COLUMN_NOT_OPEN`, `ENGRAM_DAMAGED`, `ENGRAM_DAMAGED_COPY`, `ENGRAM_SOURCE_CHANGED`, `ENGRAM_UNREAD`,
/// `ENGRAM_FORKED`, and what the system refuses; then all rows are zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_lookup(
    store: *const engram_store,
    batch: *const engram_batch,
    value_type: engram_value_type,
    out: *mut c_void,
    out_bytes: usize,
    row_stride: usize,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the pointers are NULL or objects that nobody changes meanwhile.
        let (store, batch) = unsafe { (shared(store, "store")?, shared(batch, "batch")?) };
        let (store, batch) = (store.store(), batch.batch());
        let value_type = self::value_type(value_type)?;
        let codec = store.codec(batch.layer())?;
        let memory = Memory::new(out, out_bytes, row_stride);
        // SAFETY: the caller lends the memory until this call returns.
        let target = unsafe { Target::whole(batch, codec, value_type, memory)? };
        engram_ffi::lookup(store, batch, value_type, target)
    };
    // SAFETY: the pointer is NULL or may be written to.
    unsafe { call(error, run) }
}

/// As `engram_lookup` with `ENGRAM_STORED`, with the values of a row and its scales apart: `engram_layer_value_bytes`
/// bytes of each row to `values`, and the other `engram_layer_scale_bytes` to `scales`, which may be NULL where a layer
/// has none. Each has a stride of its own; there is a copy between.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_lookup_parts(
    store: *const engram_store,
    batch: *const engram_batch,
    values: *mut c_void,
    values_bytes: usize,
    values_stride: usize,
    scales: *mut c_void,
    scales_bytes: usize,
    scales_stride: usize,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the pointers are NULL or objects that nobody changes meanwhile.
        let (store, batch) = unsafe { (shared(store, "store")?, shared(batch, "batch")?) };
        let (store, batch) = (store.store(), batch.batch());
        let codec = store.codec(batch.layer())?;
        let values = Memory::new(values, values_bytes, values_stride);
        let scales = Memory::new(scales, scales_bytes, scales_stride);
        // SAFETY: the caller lends both until this call returns.
        let target = unsafe { Target::parts(batch, codec, values, scales)? };
        engram_ffi::lookup(store, batch, None, target)
    };
    // SAFETY: the pointer is NULL or may be written to.
    unsafe { call(error, run) }
}

/// Reads the rows of `batch` into the cache, so that later calls find them there; the last ones are the most likely to
/// stay. Waits until that is done. Without a cache it only reads. Its reads have the priority `ENGRAM_WARM`.
///
/// Errors: as `engram_lookup`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_warm(
    store: *const engram_store,
    batch: *const engram_batch,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the pointers are NULL or objects that nobody changes meanwhile.
        let (store, batch) = unsafe { (shared(store, "store")?, shared(batch, "batch")?) };
        let (store, batch) = (store.store(), batch.batch());
        Ok(store.warm(batch.rows())?)
    };
    // SAFETY: the pointer is NULL or may be written to.
    unsafe { call(error, run) }
}
