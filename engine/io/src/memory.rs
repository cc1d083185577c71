//! A file loaded whole.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use memmap2::{Advice, MmapMut};

use crate::{IoError, ReadAt, prefetch::prefetch_at};

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
        let mut file = File::open(path).map_err(IoError::os("open", path))?;
        let size = file
            .metadata()
            .map_err(IoError::os("read the size of", path))?
            .len();
        let size = usize::try_from(size)
            .map_err(|_| std::io::ErrorKind::OutOfMemory.into())
            .map_err(IoError::os("load", path))?;
        let bytes = (size > 0)
            .then(|| load(&mut file, size))
            .transpose()
            .map_err(IoError::os("load", path))?;
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

fn load(file: &mut File, size: usize) -> std::io::Result<MmapMut> {
    let mut bytes = MmapMut::map_anon(size)?;
    // Only advice: without huge pages it works, slower.
    let _ = bytes.advise(Advice::HugePage);
    file.read_exact(&mut bytes)?;
    // Not made read-only: drivers register such memory on some machines alone.
    Ok(bytes)
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
