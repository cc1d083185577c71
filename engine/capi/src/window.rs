//! Hashing without a history of ours.

use crate::{
    border::{exclusive, shared, values},
    call::call,
    error::engram_error,
    row_ids::engram_row_ids,
    status::engram_status,
    store::engram_store,
};

/// Hashes positions whose last tokens the caller knows. `windows` is `[count][N]`, with N as `engram_max_order` says:
/// for each position its own token, then the one before it, and so on. `row_ids` gets the rows of each in every layer.
///
/// `blocked` is NULL or `[count][N]` too. No n-gram reaches a place that is not 0 there, nor anything older, and its
/// token is not looked at. Places before the start of a history have to be blocked, or hold `ENGRAM_DEAD`, which does
/// the same. A window whose newest place is blocked is a dead position. The tokens at which a model's history ends are
/// known from the pack; they need not be blocked.
///
/// Errors: `ENGRAM_WINDOW_TOKEN_OUT_OF_RANGE`; then `row_ids` has not changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_windows_hash(
    store: *const engram_store,
    windows: *const u32,
    blocked: *const u8,
    count: usize,
    row_ids: *mut engram_row_ids,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the pointers are NULL or what they say they are; nobody else uses what changes.
        unsafe {
            let hasher = shared(store, "store")?.store().hasher();
            let ids = count.saturating_mul(hasher.scheme().max_order as usize);
            let windows = values(windows, ids, "windows")?;
            let out = exclusive(row_ids, "row_ids")?.ids_mut();
            if blocked.is_null() {
                return Ok(hasher.hash_windows(windows, |_| false, out)?);
            }
            let blocked = values(blocked, ids, "blocked")?;
            Ok(hasher.hash_windows(windows, |index| blocked[index] != 0, out)?)
        }
    };
    // SAFETY: the pointer is NULL or may be written to.
    unsafe { call(error, run) }
}
