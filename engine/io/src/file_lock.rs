//! Locks of whole files, where the file system has any.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// What came of an attempt to lock a file.
#[derive(Debug)]
pub enum FileLock {
    /// It is locked until it is closed.
    Held,
    /// Somebody else holds the lock.
    HeldByOther,
    /// No lock can be had, which network file systems, file systems in user space and containers answer in many ways.
    /// Nothing keeps others away.
    Unsupported(io::Error),
}

impl FileLock {
    /// Tries to lock `file` for this process alone, without waiting.
    pub fn try_exclusive(file: &File) -> Self {
        loop {
            return match file.try_lock() {
                Ok(()) => Self::Held,
                Err(TryLockError::WouldBlock) => Self::HeldByOther,
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {
                    continue;
                }
                Err(TryLockError::Error(error)) => Self::Unsupported(error),
            };
        }
    }
}

/// Whether `file` still has the name `path`: whoever held the lock before may have renamed or removed it.
pub fn is_named(file: &File, path: &Path) -> bool {
    let (Ok(opened), Ok(named)) = (file.metadata(), fs::metadata(path)) else {
        return false;
    };
    (opened.dev(), opened.ino()) == (named.dev(), named.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_until_its_file_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let first = File::create(&path).unwrap();
        let second = File::open(&path).unwrap();
        assert!(matches!(FileLock::try_exclusive(&first), FileLock::Held));
        let other = FileLock::try_exclusive(&second);
        assert!(matches!(other, FileLock::HeldByOther), "{other:?}");
        drop(first);
        assert!(matches!(FileLock::try_exclusive(&second), FileLock::Held));
    }

    #[test]
    fn a_file_that_was_renamed_has_its_name_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = File::create(&path).unwrap();
        assert!(is_named(&file, &path));
        fs::rename(&path, folder.path().join("other")).unwrap();
        assert!(!is_named(&file, &path));
        File::create(&path).unwrap();
        assert!(!is_named(&file, &path));
    }
}
