//! What comes over the border: pointers become references, and no panic goes back.

use std::{
    any::Any,
    ffi::{CStr, c_char},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr, slice,
};

use engram_ffi::{ErrorKind, Failure};

/// Runs a call that cannot fail; a panic gives `otherwise`.
pub(crate) fn ask<T>(otherwise: T, run: impl FnOnce() -> T) -> T {
    caught(run).unwrap_or(otherwise)
}

/// Runs what may have a bug.
///
/// # Errors
/// A panic.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| of_panic(&*panic))
}

fn of_panic(panic: &(dyn Any + Send)) -> Failure {
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let said = said.unwrap_or("no message");
    Failure::new(
        ErrorKind::Panic,
        format!("the library has a bug, and the call was ended where it showed: {said}"),
    )
}

fn null(name: &str) -> Failure {
    Failure::new(ErrorKind::NullArgument, format!("`{name}` is NULL"))
}

/// What the argument `name` points to.
///
/// # Errors
/// NULL.
///
/// # Safety
/// Otherwise it is a value that nobody changes while the reference lives.
pub(crate) unsafe fn shared<'a, T>(pointer: *const T, name: &str) -> Result<&'a T, Failure> {
    // SAFETY: the caller's promise.
    unsafe { pointer.as_ref() }.ok_or_else(|| null(name))
}

/// What the argument `name` points to, to be changed.
///
/// # Errors
/// NULL.
///
/// # Safety
/// Otherwise it is a value that nobody else uses while the reference lives.
pub(crate) unsafe fn exclusive<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T, Failure> {
    // SAFETY: the caller's promise.
    unsafe { pointer.as_mut() }.ok_or_else(|| null(name))
}

/// The `len` values that the argument `name` points to.
///
/// # Errors
/// NULL where there are values, a pointer that is not aligned for them, or more than any memory holds.
///
/// # Safety
/// Otherwise they are values that nobody changes while the slice lives.
pub(crate) unsafe fn values<'a, T>(
    pointer: *const T,
    len: usize,
    name: &str,
) -> Result<&'a [T], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(null(name));
    }
    if !pointer.is_aligned() {
        let (address, alignment) = (pointer.addr(), align_of::<T>());
        return Err(Failure::new(
            ErrorKind::BadArgument,
            format!("`{name}` is at address {address:#x}, expected a multiple of {alignment}"),
        ));
    }
    let bytes = len.checked_mul(size_of::<T>());
    if bytes.is_none_or(|bytes| bytes > isize::MAX.cast_unsigned()) {
        return Err(Failure::new(
            ErrorKind::BadArgument,
            format!("`{name}` has {len} values, more than any memory holds"),
        ));
    }
    // SAFETY: the caller's promise, and the checks above.
    Ok(unsafe { slice::from_raw_parts(pointer, len) })
}

/// The text that the argument `name` points to.
///
/// # Errors
/// NULL.
///
/// # Safety
/// Otherwise it ends with a NUL, and nobody changes it while the reference lives.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a CStr, Failure> {
    if pointer.is_null() {
        return Err(null(name));
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { CStr::from_ptr(pointer) })
}

/// Checks the argument `name`, where something will be written whose old value, if any, does not matter.
///
/// # Errors
/// NULL.
pub(crate) fn check_place<T>(place: *mut T, name: &str) -> Result<(), Failure> {
    if place.is_null() {
        return Err(null(name));
    }
    Ok(())
}

/// Gives `value` away to be owned by C, at `place`, the argument `name`.
///
/// # Errors
/// NULL.
///
/// # Safety
/// Otherwise a pointer may be written at `place`.
pub(crate) unsafe fn give<T>(place: *mut *mut T, value: T, name: &str) -> Result<(), Failure> {
    check_place(place, name)?;
    // SAFETY: the caller's promise.
    unsafe { place.write(Box::into_raw(Box::new(value))) };
    Ok(())
}

/// Drops what [`give`] gave; NULL is nothing.
///
/// # Safety
/// `pointer` is NULL, or came from [`give`] or `Box::into_raw` and is used no more.
pub(crate) unsafe fn take_back<T>(pointer: *mut T) {
    if !pointer.is_null() {
        // SAFETY: the caller's promise.
        let value = unsafe { Box::from_raw(pointer) };
        ask((), || drop(value));
    }
}

/// Copies `text` and a NUL to `buffer`, cut off at `capacity` bytes. Returns the bytes of all of it without the NUL.
///
/// # Safety
/// `buffer` may be written up to `capacity` bytes; it may be NULL if that is 0.
pub(crate) unsafe fn copy_text(text: &[u8], buffer: *mut c_char, capacity: usize) -> usize {
    if capacity > 0 && !buffer.is_null() {
        let copied = text.len().min(capacity - 1);
        // SAFETY: both have room for `copied` bytes and `buffer` for one more; memory that C lends is not Rust's.
        unsafe {
            ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), copied);
            buffer.add(copied).write(0);
        }
    }
    text.len()
}
