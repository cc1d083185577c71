//! Calls that may fail.

use std::ptr;

use engram_ffi::Failure;

use crate::{
    border::caught,
    error::engram_error,
    status::engram_status::{self, ENGRAM_OK},
};

/// Runs a call that may fail. An error, or a panic, goes to `error`, which is set to NULL otherwise.
///
/// # Safety
/// `error` is NULL, or a pointer may be written there.
pub(crate) unsafe fn call(
    error: *mut *mut engram_error,
    run: impl FnOnce() -> Result<(), Failure>,
) -> engram_status {
    let (status, made) = match caught(run).flatten() {
        Ok(()) => (ENGRAM_OK, ptr::null_mut()),
        // An error that nobody takes is not made.
        Err(failure) if error.is_null() => (failure.kind.into(), ptr::null_mut()),
        Err(failure) => (failure.kind.into(), engram_error::new(failure)),
    };
    if !error.is_null() {
        // SAFETY: the caller's promise.
        unsafe { error.write(made) };
    }
    status
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;
    use crate::{border::ask, status::engram_status::ENGRAM_PANIC};

    #[test]
    fn panics_do_not_cross() {
        let mut error = ptr::null_mut();
        // SAFETY: `error` is a variable of ours.
        let status = unsafe { call(&raw mut error, || panic!("at row {}", 7)) };
        assert_eq!(status, ENGRAM_PANIC);
        // SAFETY: it was just made, and is used no more after it is taken back.
        let message = unsafe { CStr::from_ptr(crate::engram_error_message(error)) };
        assert!(
            message
                .to_string_lossy()
                .ends_with("where it showed: at row 7")
        );
        // SAFETY: as above.
        unsafe { crate::engram_error_free(error) };
        // SAFETY: nobody wants the error.
        let status = unsafe { call(ptr::null_mut(), || panic!("plain")) };
        assert_eq!(status, ENGRAM_PANIC);
        assert_eq!(ask(3, || panic!("an answer")), 3);
    }
}
