//! New files that appear whole or not at all.

use std::{
    fs::{self, File},
    io::ErrorKind,
    num::NonZeroU64,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};

use crate::IoError;

const PARTIAL: &str = "partial";

/// A file being written beside its final path; it takes that path only when it is complete and on
/// the drive, and disappears when dropped before.
///
/// A process that is killed leaves `NAME.partial`, which the next writer of `NAME` replaces.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    partial: PathBuf,
    file: Option<File>,
    /// Where the next write goes.
    offset: u64,
}

impl NewFile {
    /// Begins the file `path` of `bytes` bytes, and its folder where that is missing.
    ///
    /// # Errors
    /// A folder that cannot be written, or a drive without that much space.
    pub fn create(path: &Path, bytes: u64) -> Result<Self, IoError> {
        if let Some(folder) = path.parent() {
            create_folder(folder)?;
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(".");
        partial.push(PARTIAL);
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).map_err(IoError::os("create", &partial))?;
        let new = Self {
            path: path.into(),
            partial,
            file: Some(file),
            offset: 0,
        };
        new.reserve(bytes)?;
        Ok(new)
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// A failed write.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), IoError> {
        self.overwrite(self.offset, bytes)?;
        // Linux answers this advice by writing the range to the drive in the background, so that the
        // sync at the end finds little left to do. It is only advice: failing changes nothing.
        let written = NonZeroU64::new(bytes.len() as u64);
        let _ = fadvise(self.file(), self.offset, written, Advice::DontNeed);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Writes `bytes` at `offset`, wherever the next [`Self::write`] goes.
    ///
    /// # Errors
    /// A failed write.
    pub fn overwrite(&mut self, offset: u64, bytes: &[u8]) -> Result<(), IoError> {
        let written = self.file().write_all_at(bytes, offset);
        written.map_err(|source| IoError::os("write", &self.partial)(source))
    }

    /// Puts the file on the drive and gives it its final path.
    ///
    /// # Errors
    /// A failed sync or rename.
    pub fn publish(mut self) -> Result<(), IoError> {
        let synced = self.file().sync_all();
        synced.map_err(IoError::os("sync", &self.partial))?;
        fs::rename(&self.partial, &self.path).map_err(IoError::os("rename", &self.partial))?;
        self.file = None;
        sync_entry(&self.path)
    }

    fn file(&self) -> &File {
        self.file.as_ref().expect("open until published")
    }

    /// Claims the space now: a full drive should stop us before the work, not after.
    fn reserve(&self, bytes: u64) -> Result<(), IoError> {
        if bytes == 0 {
            return Ok(());
        }
        match fallocate(self.file(), FallocateFlags::KEEP_SIZE, 0, bytes) {
            // Some file systems cannot; then the write itself finds out.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            Err(source) => Err(IoError::os("reserve space for", &self.partial)(
                source.into(),
            )),
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            // Nothing is lost if this fails: the name says that the file is partial.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Writes a small file whole.
///
/// # Errors
/// As the methods of [`NewFile`].
pub fn publish_bytes(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    let mut file = NewFile::create(path, bytes.len() as u64)?;
    file.write(bytes)?;
    file.publish()
}

/// Makes the folder `path` and those above it that are missing, on the drive as well.
///
/// # Errors
/// A folder that cannot be made.
pub fn create_folder(path: &Path) -> Result<(), IoError> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    path.parent().map_or(Ok(()), create_folder)?;
    match fs::create_dir(path) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made.map_err(IoError::os("create the folder", path))?,
    }
    sync_entry(path)
}

/// Puts the entry of `path` in its folder on the drive, or its absence.
///
/// # Errors
/// A folder that cannot be synced.
pub fn sync_entry(path: &Path) -> Result<(), IoError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(IoError::os("sync the folder", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_file_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let mut file = NewFile::create(&path, 3).unwrap();
        file.write(b"abc").unwrap();
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_published_file_has_the_bytes_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/new");
        let mut file = NewFile::create(&path, 6).unwrap();
        file.write(b"___d").unwrap();
        file.overwrite(0, b"abc").unwrap();
        file.write(b"ef").unwrap();
        assert!(!path.exists());
        file.publish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abcdef");
        assert_eq!(fs::read_dir(folder.path().join("sub")).unwrap().count(), 1);
    }

    #[test]
    fn more_space_than_there_is_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let refused = NewFile::create(&folder.path().join("new"), 1 << 50).unwrap_err();
        assert!(refused.to_string().contains("reserve space"), "{refused}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
