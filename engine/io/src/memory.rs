//! A file loaded whole.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use crate::{IoError, ReadAt, prefetch::prefetch};

/// The whole file in memory of this process.
pub struct MemoryReader {
    path: PathBuf,
    bytes: Box<[u8]>,
}

impl MemoryReader {
    /// Loads the file at `path`.
    ///
    /// # Errors
    /// A file that cannot be read, or does not fit in memory.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        let mut file = File::open(path).map_err(IoError::os("open", path))?;
        let size = file
            .metadata()
            .map_err(IoError::os("read the size of", path))?
            .len();
        let mut bytes = Vec::new();
        usize::try_from(size)
            .ok()
            .and_then(|size| bytes.try_reserve_exact(size).ok())
            .ok_or_else(|| std::io::ErrorKind::OutOfMemory.into())
            .map_err(IoError::os("load", path))?;
        file.read_to_end(&mut bytes)
            .map_err(IoError::os("load", path))?;
        Ok(Self {
            path: path.into(),
            bytes: bytes.into(),
        })
    }
}

impl ReadAt for MemoryReader {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let range = start..start.saturating_add(out.len());
        let bytes = self.bytes.get(range).ok_or_else(|| IoError::PastEnd {
            path: self.path.clone(),
            offset,
            len: out.len(),
            size: self.size(),
        })?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn prefetch(&self, offset: u64, len: usize) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let left = self.bytes.len().saturating_sub(start);
        prefetch(self.bytes.as_ptr().wrapping_add(start), len.min(left));
    }
}

impl std::fmt::Debug for MemoryReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MemoryReader").field(&self.path).finish()
    }
}
