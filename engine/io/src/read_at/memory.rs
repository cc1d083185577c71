//! A file loaded whole.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use memmap2::{Advice, MmapMut};

use super::{PreadReader, ReadAt};
use crate::{IoError, prefetch::prefetch_at};

/// Bytes read at a time while a file is loaded.
const LOAD_BYTES: usize = 8 << 20;

/// The whole file in memory of this process, in huge pages where the system has them: with small ones,
/// half the time of a scattered read goes into finding the page.
pub struct MemoryReader {
    path: PathBuf,
    /// None for an empty file, which cannot be mapped.
    bytes: Option<MmapMut>,
}

impl MemoryReader {
    /// Loads the file at `path`.
    ///
    /// # Errors
    /// A file that cannot be read, or does not fit in memory.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        Self::load(path, &PreadReader::open_sequential(path)?)
    }

    /// Loads all that `reader` reads from the file at `path`, from front to back.
    ///
    /// # Errors
    /// A read that fails, or a file that does not fit in memory.
    pub fn load(path: &Path, reader: &dyn ReadAt) -> Result<Self, IoError> {
        const PURPOSE: &str = "a file that is loaded whole";
        let size = usize::try_from(reader.size())
            .map_err(|_| IoError::no_memory(usize::MAX, PURPOSE)(ErrorKind::OutOfMemory.into()))?;
        let mut bytes = None;
        if size > 0 {
            let map = MmapMut::map_anon(size).map_err(IoError::no_memory(size, PURPOSE))?;
            let map = bytes.insert(map);
            // Only advice: without huge pages it works, slower.
            let _ = map.advise(Advice::HugePage);
            for (index, chunk) in map.chunks_mut(LOAD_BYTES).enumerate() {
                reader.read_at((index * LOAD_BYTES) as u64, chunk)?;
            }
        }
        // Not made read-only: some drivers pin memory for a device only while it can be written.
        Ok(Self {
            path: path.into(),
            bytes,
        })
    }

    /// All bytes of the file.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }
}

impl ReadAt for MemoryReader {
    fn size(&self) -> u64 {
        self.bytes().len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let range = start..start.saturating_add(out.len());
        let bytes = self.bytes().get(range).ok_or_else(|| IoError::PastEnd {
            path: self.path.clone(),
            offset,
            len: out.len(),
            size: self.size(),
        })?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn memory(&self) -> Option<(*const u8, usize)> {
        Some((self.bytes().as_ptr(), self.bytes().len()))
    }

    #[inline]
    fn prefetch(&self, offset: u64, len: usize) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let left = self.bytes().len().saturating_sub(start);
        prefetch_at(self.bytes().as_ptr().wrapping_add(start), len.min(left));
    }
}

impl std::fmt::Debug for MemoryReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MemoryReader").field(&self.path).finish()
    }
}
