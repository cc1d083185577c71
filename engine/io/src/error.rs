//! Errors that name the file and the place.

use std::{io, path::PathBuf};

use thiserror::Error;

/// A file operation that failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IoError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Os {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
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
        /// Size of the file.
        size: u64,
    },
}

impl IoError {
    pub(crate) fn os(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Os {
            action,
            path,
            source,
        }
    }
}
