//! A file mapped into memory.
//!
//! Another process may change a mapped file at any time, so its bytes are only copied out, never borrowed, and a
//! caller checks the copy. If the file is cut shorter while it is mapped, a read of the lost part ends this process
//! with SIGBUS. Use [`PreadReader`](crate::PreadReader) for files that may be.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use memmap2::{Advice, MmapOptions, MmapRaw};

use crate::{IoError, ReadAt, prefetch::prefetch_at};

/// A file read through a shared mapping, without read-ahead.
pub struct MmapReader {
    path: PathBuf,
    map: MmapRaw,
}

impl MmapReader {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// A file that cannot be opened or mapped.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        let file = File::open(path).map_err(IoError::os("open", path))?;
        let map = MmapOptions::new()
            .map_raw_read_only(&file)
            .map_err(IoError::os("map", path))?;
        // Reads are scattered: the kernel's read-ahead would fetch many times what is used. It is only advice.
        let _ = map.advise(Advice::Random);
        Ok(Self {
            path: path.into(),
            map,
        })
    }
}

impl ReadAt for MmapReader {
    fn size(&self) -> u64 {
        self.map.len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        if start
            .checked_add(out.len())
            .is_none_or(|end| end > self.map.len())
        {
            return Err(IoError::PastEnd {
                path: self.path.clone(),
                offset,
                len: out.len(),
                size: self.size(),
            });
        }
        // SAFETY: the range lies within the mapping, which lives as long as `self`; `out` is a unique
        // borrow and cannot overlap a mapping of our own. No reference to mapped bytes is made, so a
        // concurrent change can only garble the copy.
        unsafe {
            std::ptr::copy_nonoverlapping(
                self.map.as_ptr().add(start),
                out.as_mut_ptr(),
                out.len(),
            );
        }
        Ok(())
    }

    fn memory(&self) -> Option<(*const u8, usize)> {
        Some((self.map.as_ptr(), self.map.len()))
    }

    #[inline]
    fn prefetch(&self, offset: u64, len: usize) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let left = self.map.len().saturating_sub(start);
        prefetch_at(self.map.as_ptr().wrapping_add(start), len.min(left));
    }
}

impl std::fmt::Debug for MmapReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MmapReader").field(&self.path).finish()
    }
}
