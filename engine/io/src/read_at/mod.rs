//! Files read one read at a time.

#[cfg(feature = "fault")]
mod fault;
mod memory;
mod mmap;
mod pread;

use crate::IoError;

#[cfg(feature = "fault")]
pub use fault::FaultReader;
pub use memory::MemoryReader;
pub use mmap::MmapReader;
pub use pread::PreadReader;

/// A file whose bytes can be copied out from any offset, by many threads at once.
pub trait ReadAt: Send + Sync + std::fmt::Debug {
    /// Size in bytes when the reader was opened.
    fn size(&self) -> u64;

    /// Copies `out.len()` bytes from `offset`.
    ///
    /// # Errors
    /// A range beyond the end, or a failed read; `out` then holds nothing of meaning.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError>;

    /// Where the whole file lies in memory as long as this reader does, and its bytes, if it does.
    fn memory(&self) -> Option<(*const u8, usize)> {
        None
    }

    /// Hints that `len` bytes at `offset` will be read soon. Costs next to nothing, never blocks, and
    /// leaves out what lies beyond the end.
    fn prefetch(&self, _offset: u64, _len: usize) {}

    /// Lets `plan` replace what the system answers to this reader. False if the reader makes no system calls.
    #[cfg(feature = "fault")]
    fn inject(&mut self, _plan: &crate::FaultPlan) -> bool {
        false
    }

    /// Copies the bytes from `offset` to `head`, and those that follow `gap` bytes later to `tail`.
    ///
    /// # Errors
    /// As [`Self::read_at`].
    fn read_split_at(
        &self,
        offset: u64,
        head: &mut [u8],
        gap: usize,
        tail: &mut [u8],
    ) -> Result<(), IoError> {
        self.read_at(offset, head)?;
        self.read_at(offset + (head.len() + gap) as u64, tail)
    }
}
