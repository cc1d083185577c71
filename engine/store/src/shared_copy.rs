//! A file in a shared folder that stands for a shard.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use engram_io::IoError;

/// A copy of a shard that processes share, as it was found when it was opened.
#[derive(Debug)]
pub(crate) struct SharedCopy {
    path: PathBuf,
    /// Device and inode, which tell it from a copy that has taken its place.
    identity: (u64, u64),
}

impl SharedCopy {
    /// The copy at `path`.
    pub(crate) fn of(path: &Path) -> Result<Self, IoError> {
        let found = fs::metadata(path).map_err(IoError::os("open", path))?;
        Ok(Self {
            path: path.into(),
            identity: (found.dev(), found.ino()),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it, unless another has removed or replaced it. Who has it mapped keeps the memory.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == self.identity => fs::remove_file(&self.path),
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}
