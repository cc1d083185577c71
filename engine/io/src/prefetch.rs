//! Hints to the processor's caches.

/// Bytes of a cache line.
#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;
/// Lines that one hint asks for; the processor's own read-ahead follows a longer row by itself.
#[cfg(target_arch = "x86_64")]
const LINES: usize = 8;

/// Begins to load the first of `bytes` into the caches, where the processor has such an instruction: into all but the
/// smallest, which has the fewest loads on their way.
#[inline]
pub fn prefetch(bytes: &[u8]) {
    prefetch_at(bytes.as_ptr(), bytes.len());
}

/// [`prefetch`] of the `len` bytes at `start`. Any address may be given: a hint neither faults nor reads.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn prefetch_at(start: *const u8, len: usize) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    let misaligned = start.addr() % LINE_BYTES;
    let end = misaligned.saturating_add(len);
    for at in (0..end).step_by(LINE_BYTES).take(LINES) {
        let line = start.wrapping_add(at).cast();
        // SAFETY: SSE is part of x86-64, and a prefetch of any address is a hint without effects on
        // the program's state.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line) };
    }
}

/// Other processors look ahead by themselves.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn prefetch_at(_start: *const u8, _len: usize) {}
