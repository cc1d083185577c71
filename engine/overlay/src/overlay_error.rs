//! Why an overlay cannot be opened, read or written.

use std::path::{Path, PathBuf};

use engram::OpenError;
use thiserror::Error;

use crate::error::EditError;

/// An overlay that cannot be opened, read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OverlayError {
    /// The pack cannot be read.
    #[error(transparent)]
    Pack(Box<OpenError>),
    /// An edit that does not fit the pack. No edit of its batch has been made.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// A folder that is no overlay.
    #[error("{} is no overlay: {reason}", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What shows it.
        reason: String,
    },
    /// An overlay of another pack.
    #[error(
        "{} has edits of the pack {found}, this is the pack {expected}; export them, and import them here if they fit",
        path.display()
    )]
    OtherPack {
        /// The overlay.
        path: PathBuf,
        /// Identity of the pack that it belongs to.
        found: String,
        /// Identity of the pack that was given.
        expected: String,
    },
    /// An overlay that somebody else is writing, in this process or another.
    #[error("{} is open for writing elsewhere, and has one writer at a time; read it beside that one", path.display())]
    Locked {
        /// The overlay.
        path: PathBuf,
    },
    /// An entry that does not fit the pack, although the overlay is of this pack.
    #[error("{} is damaged: {cause}", path.display())]
    Entry {
        /// The overlay.
        path: PathBuf,
        /// What is wrong with it.
        cause: EditError,
    },
    /// Bytes that are not what was written.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The overlay.
        path: PathBuf,
        /// What RocksDB says.
        reason: String,
    },
    /// No room for a batch. It has not been made.
    #[error("{}: the drive is full: {reason}", path.display())]
    Full {
        /// The overlay.
        path: PathBuf,
        /// What RocksDB says.
        reason: String,
    },
    /// A batch could not be written before, so that nobody knows how much of the log is good.
    #[error("{}: a batch could not be written; open the overlay again before writing more", path.display())]
    Broken {
        /// The overlay.
        path: PathBuf,
    },
    /// Anything else that RocksDB cannot do.
    #[error("cannot {action} {}: {reason}", path.display())]
    Database {
        /// The overlay.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What RocksDB says.
        reason: String,
    },
    /// A folder that cannot be listed or made.
    #[error("{}: {cause}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
}

impl OverlayError {
    pub(crate) fn foreign(path: &Path, reason: impl Into<String>) -> Self {
        Self::Foreign {
            path: path.into(),
            reason: reason.into(),
        }
    }

    /// What `cause` means for who tried to `action` the overlay in `path`.
    pub(crate) fn of_database(path: &Path, action: &'static str, cause: &rocksdb::Error) -> Self {
        let (path, reason) = (path.to_owned(), cause.to_string());
        // RocksDB has no kinds for these.
        let says = |words: &[&str]| words.iter().any(|words| reason.contains(words));
        if says(&["lock hold by current process", "While lock file"]) {
            Self::Locked { path }
        } else if says(&[
            "No space left on device",
            "File too large",
            "Disk quota exceeded",
        ]) {
            Self::Full { path, reason }
        } else if cause.kind() == rocksdb::ErrorKind::Corruption {
            Self::Damaged { path, reason }
        } else {
            Self::Database {
                path,
                action,
                reason,
            }
        }
    }
}

impl From<OpenError> for OverlayError {
    fn from(cause: OpenError) -> Self {
        Self::Pack(Box::new(cause))
    }
}
