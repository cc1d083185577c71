//! New files that appear whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    num::NonZeroU64,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Advice, FallocateFlags, fadvise, fallocate},
    io::Errno,
};

use crate::{FileLock, IoError, Limit, is_named};

const PARTIAL: &str = "partial";
/// How often a file is opened anew because another writer has just renamed or removed it.
const OPENINGS: usize = 16;

/// A file being written beside its final path; it takes that path only when it is complete and on
/// the drive, and disappears when dropped before.
///
/// A process that is killed leaves `NAME.partial`, which the next writer of `NAME` replaces. It is locked, so that two
/// writers of one name do not mix their bytes; where the file system has no locks, they must not meet.
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
    /// A folder that cannot be written, a drive without that much space, a file that somebody else is writing, or one
    /// that is larger than this process may write.
    pub fn create(path: &Path, bytes: u64) -> Result<Self, IoError> {
        if let Some(limit) = Limit::file_bytes().and_then(|limit| limit.soft)
            && limit < bytes
        {
            // The write itself would end the process by a signal.
            let path = path.into();
            return Err(IoError::FileSizeLimit { path, bytes, limit });
        }
        if let Some(folder) = path.parent() {
            create_folder(folder)?;
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(".");
        partial.push(PARTIAL);
        let partial = PathBuf::from(partial);
        let file = open_alone(&partial)?;
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

    /// Makes the file `bytes` bytes long; what was not written is a hole of zeros, where the file system has holes.
    ///
    /// # Errors
    /// A file that cannot be so long.
    pub fn set_len(&mut self, bytes: u64) -> Result<(), IoError> {
        let set = self.file().set_len(bytes);
        set.map_err(|source| IoError::os("set the length of", &self.partial)(source))
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
            Err(full @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {
                Err(IoError::os("reserve space for", &self.partial)(full.into()))
            }
            // Any other answer says only that this file system or container does not reserve.
            _ => Ok(()),
        }
    }
}

/// Opens the file at `path` empty and locked, where the file system has locks.
fn open_alone(path: &Path) -> Result<File, IoError> {
    for turn in 1..=OPENINGS {
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let file = opened.map_err(IoError::os("create", path))?;
        match FileLock::try_exclusive(&file) {
            FileLock::HeldByOther => break,
            // Whoever held the lock until now may have published the file, which then must not be emptied. A file
            // system that numbers a file anew at each look says so of every file, which must not go on for ever.
            FileLock::Held if turn < OPENINGS && !is_named(&file, path) => continue,
            FileLock::Held | FileLock::Unsupported(_) => {}
        }
        file.set_len(0).map_err(IoError::os("empty", path))?;
        return Ok(file);
    }
    Err(IoError::Busy { path: path.into() })
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
/// Many network file systems and those in user space sync no folders, nor can a user who may not list one; entries are
/// then as safe as the file system makes them.
///
/// # Errors
/// A folder whose sync was tried and failed.
pub fn sync_entry(path: &Path) -> Result<(), IoError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if syncs_no_folders(&error) => Ok(()),
        synced => synced.map_err(IoError::os("sync the folder", folder)),
    }
}

/// Whether this answer to a folder's sync means that there is no such thing here.
fn syncs_no_folders(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::INVAL
                | Errno::NOTSUP
                | Errno::NOSYS
                | Errno::BADF
                | Errno::ISDIR
                | Errno::PERM
                | Errno::ACCESS
        )
    )
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
    fn a_file_has_one_writer_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let mut first = NewFile::create(&path, 3).unwrap();
        let refused = NewFile::create(&path, 3).unwrap_err();
        assert!(matches!(refused, IoError::Busy { .. }), "{refused:?}");
        first.write(b"abc").unwrap();
        first.publish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        // What a killed process has left is replaced.
        fs::write(folder.path().join("new.partial"), b"longer than the next").unwrap();
        publish_bytes(&path, b"next").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"next");
    }

    #[test]
    fn only_a_failed_sync_of_a_folder_is_an_error() {
        let cannot = |number| syncs_no_folders(&io::Error::from_raw_os_error(number));
        assert!(
            [libc::EINVAL, libc::EOPNOTSUPP, libc::ENOSYS]
                .into_iter()
                .all(cannot)
        );
        assert!(
            ![libc::EIO, libc::ENOSPC, libc::EDQUOT, libc::ENOENT]
                .into_iter()
                .any(cannot)
        );
    }

    #[test]
    fn more_space_than_there_is_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let refused = NewFile::create(&folder.path().join("new"), 1 << 50).unwrap_err();
        assert!(refused.to_string().contains("reserve space"), "{refused}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
