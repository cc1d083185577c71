//! Which library this is.

use std::ffi::{CStr, c_char};

/// Number of the binary interface that this header describes. It grows whenever a program that was compiled before
/// might no longer work; new functions and status codes leave it as it is. Compare it with `engram_abi()`.
pub const ENGRAM_ABI: u32 = 1;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version has no NUL"),
    };

/// Number of the binary interface of the library that is loaded. A program whose `ENGRAM_ABI` is another one must not
/// call anything else of it.
#[unsafe(no_mangle)]
pub extern "C" fn engram_abi() -> u32 {
    ENGRAM_ABI
}

/// Version of the library that is loaded, such as "0.1.0". It lives as long as the library.
#[unsafe(no_mangle)]
pub extern "C" fn engram_version() -> *const c_char {
    VERSION.as_ptr()
}
