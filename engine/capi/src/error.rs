//! What went wrong in a call.

use std::ffi::{CString, c_char};

use engram_ffi::Failure;

use crate::{
    border::{ask, copy_text, take_back},
    status::engram_status::{self, ENGRAM_OK},
};

/// What went wrong in a call: a status and a message. It belongs to whoever called, and knows nothing of other calls.
#[derive(Debug)]
pub struct engram_error {
    status: engram_status,
    message: CString,
}

impl engram_error {
    pub(crate) fn new(failure: Failure) -> *mut Self {
        let mut message = failure.message.into_bytes();
        message.retain(|&byte| byte != 0);
        Box::into_raw(Box::new(Self {
            status: failure.kind.into(),
            message: CString::new(message).unwrap_or_default(),
        }))
    }
}

/// The status that the call returned; `ENGRAM_OK` for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_error_status(error: *const engram_error) -> engram_status {
    // SAFETY: the pointer is NULL or an error that has not been freed.
    let error = unsafe { error.as_ref() };
    error.map_or(ENGRAM_OK, |error| error.status)
}

/// What went wrong, in English: the file or argument, what was expected and what was found. Without a line break at its
/// end. It lives as long as the error; "" for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_error_message(error: *const engram_error) -> *const c_char {
    // SAFETY: the pointer is NULL or an error that has not been freed.
    let error = unsafe { error.as_ref() };
    error.map_or(c"".as_ptr(), |error| error.message.as_ptr())
}

/// Copies the message to the `capacity` bytes at `buffer`, cut off if need be and always with a NUL at its end. Returns
/// its length without the NUL, whatever the capacity, as `snprintf` does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_error_copy_message(
    error: *const engram_error,
    buffer: *mut c_char,
    capacity: usize,
) -> usize {
    ask(0, || {
        // SAFETY: the pointer is NULL or an error that has not been freed.
        let error = unsafe { error.as_ref() };
        let message = error.map_or(&b""[..], |error| error.message.as_bytes());
        // SAFETY: the caller says how large the buffer is.
        unsafe { copy_text(message, buffer, capacity) }
    })
}

/// Frees an error. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_error_free(error: *mut engram_error) {
    // SAFETY: it is NULL, or was given by a call and is used no more.
    unsafe { take_back(error) };
}
