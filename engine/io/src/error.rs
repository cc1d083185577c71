//! Errors that name the file and the place.
//!
//! Each message is a whole sentence that includes the system's answer. That answer is not the error's `source()`, or
//! programs that print an error with its sources would print it twice.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::process::{Resource, getrlimit};
use thiserror::Error;

use crate::FileChange;

/// Why a file could not be opened, read or written, or the means to do so could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IoError {
    /// The system refused to do something with a file or folder.
    #[error("cannot {action} {}: {cause}", path.display())]
    Os {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
    /// A file that cannot be opened because this process has as many open as it may.
    #[error(
        "cannot {action} {}: this process may have {limit} files open (ulimit -n), and all of them are in use; \
         raise the limit",
        path.display()
    )]
    TooManyFiles {
        /// What was tried.
        action: &'static str,
        /// The file that was one too many.
        path: PathBuf,
        /// Files that this process may have open at a time.
        limit: u64,
        /// The system's answer.
        cause: io::Error,
    },
    /// A file that cannot be opened because all processes together have as many open as they may.
    #[error(
        "cannot {action} {}: all processes together have as many files open as the system allows \
         (sysctl fs.file-max); raise the limit",
        path.display()
    )]
    TooManyFilesInSystem {
        /// What was tried.
        action: &'static str,
        /// The file that was one too many.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
    /// A new file that somebody else is writing.
    #[error("{} is being written by another process or thread", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// A new file larger than any that this process may write.
    #[error(
        "cannot write {}: it will have {bytes} bytes, and this process may write files of {limit} bytes (ulimit -f)",
        path.display()
    )]
    FileSizeLimit {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        bytes: u64,
        /// The most bytes that a file of this process may have.
        limit: u64,
    },
    /// A read past the end of the file.
    #[error("{}: {len} bytes at offset {offset} lie beyond its end at {size}", path.display())]
    PastEnd {
        /// The file.
        path: PathBuf,
        /// First byte wanted.
        offset: u64,
        /// Bytes wanted.
        len: usize,
        /// Size of the file in bytes when it was opened.
        size: u64,
    },
    /// A file that ends before the last byte needed, such as one that was cut shorter after it was opened.
    #[error(
        "{} ends {found} bytes after offset {offset}, where {needed} bytes are needed; \
         it may have been cut shorter while it was open",
        path.display()
    )]
    Ended {
        /// The file.
        path: PathBuf,
        /// First byte wanted.
        offset: u64,
        /// Bytes that had to come.
        needed: usize,
        /// Bytes that came.
        found: usize,
    },
    /// A file of another size than its use needs.
    #[error("{} has {found} bytes, expected {expected}", path.display())]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        found: u64,
        /// The bytes it should have.
        expected: u64,
    },
    /// A file larger than any such file need be, refused before it is read.
    #[error("{}: {found} bytes, expected at most {most}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// The most bytes that are read.
        most: u64,
    },
    /// Something else where a file should be.
    #[error("{} is {found}, expected a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it names.
        found: &'static str,
    },
    /// Bytes of a file that are not those that were written, where that shows before anybody asks what they mean.
    #[error("{}: at offset {offset}: {cause}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where they begin.
        offset: u64,
        /// What is wrong.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file that may not change while it is open, and has.
    #[error(transparent)]
    Changed(FileChange),
    /// The system refused memory.
    #[error("cannot get {bytes} bytes of memory for {purpose}: {cause}")]
    NoMemory {
        /// Bytes asked for.
        bytes: usize,
        /// What they were for.
        purpose: &'static str,
        /// The system's answer.
        cause: io::Error,
    },
    /// The system refused a thread.
    #[error(
        "cannot start a thread that {purpose}: {cause}; the user or the container has as many threads as it may \
         (ulimit -u, pids.max), or there is no memory for the thread's stack"
    )]
    NoThread {
        /// What the thread was to do.
        purpose: &'static str,
        /// The system's answer.
        cause: io::Error,
    },
    /// The system refused something that concerns no file.
    #[error("cannot {action}: {cause}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        cause: io::Error,
    },
}

impl IoError {
    /// Makes an error of the system's answer to `action`, a verb, on `path`.
    pub fn os(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |cause| {
            let path = path.as_ref().into();
            match cause.raw_os_error() {
                Some(libc::EMFILE) => Self::TooManyFiles {
                    action,
                    path,
                    limit: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
                    cause,
                },
                Some(libc::ENFILE) => Self::TooManyFilesInSystem {
                    action,
                    path,
                    cause,
                },
                _ => Self::Os {
                    action,
                    path,
                    cause,
                },
            }
        }
    }

    /// Makes an error of the system's answer to `action`, a verb and its object, which concerns no file.
    pub fn system(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::System { action, cause }
    }

    /// Makes an error of the system's answer to a request for a thread that `purpose`, such as "reads".
    pub fn no_thread(purpose: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::NoThread { purpose, cause }
    }

    /// Makes an error of the system's answer to a request for `bytes` bytes of memory for `purpose`.
    pub(crate) fn no_memory(bytes: usize, purpose: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::NoMemory {
            bytes,
            purpose,
            cause,
        }
    }

    /// The system's answer, where it was the system that refused.
    pub fn os_error(&self) -> Option<&io::Error> {
        match self {
            Self::Os { cause, .. }
            | Self::TooManyFiles { cause, .. }
            | Self::TooManyFilesInSystem { cause, .. }
            | Self::NoMemory { cause, .. }
            | Self::NoThread { cause, .. }
            | Self::System { cause, .. } => Some(cause),
            Self::Busy { .. }
            | Self::FileSizeLimit { .. }
            | Self::PastEnd { .. }
            | Self::Ended { .. }
            | Self::WrongSize { .. }
            | Self::TooLarge { .. }
            | Self::NotAFile { .. }
            | Self::Damaged { .. }
            | Self::Changed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn the_answer_of_the_system_is_said_once() {
        let answer = || io::Error::from_raw_os_error(libc::EACCES);
        for error in [
            IoError::os("open", "a file")(answer()),
            IoError::system("set up io_uring")(answer()),
            IoError::no_memory(4_096, "reads")(answer()),
            IoError::no_thread("reads")(answer()),
        ] {
            let mut said = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                said = format!("{said}: {cause}");
                source = cause.source();
            }
            assert_eq!(said.matches("Permission denied").count(), 1, "{said}");
            let kind = error.os_error().map(io::Error::kind);
            assert_eq!(kind, Some(io::ErrorKind::PermissionDenied));
        }
    }

    #[test]
    fn a_system_without_files_left_is_named() {
        let full = IoError::os("open", "a file")(io::Error::from_raw_os_error(libc::ENFILE));
        assert!(full.to_string().contains("sysctl fs.file-max"), "{full}");
    }
}
