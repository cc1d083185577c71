//! What is wrong with a place of a pack, and whether that is damage.

use std::io::ErrorKind;

use engram::{LookupError, OpenError};
use engram_cold::ColdError;
use engram_io::IoError;

/// What is wrong with a place.
pub(super) enum Flaw {
    /// Its bytes are not there, or not those that they should be.
    Damaged(String),
    /// The system does not give its bytes, which says nothing about them.
    Unread(String),
}

impl From<&IoError> for Flaw {
    fn from(error: &IoError) -> Self {
        let said = error.to_string();
        match error.os_error().map(std::io::Error::kind) {
            // Another thing has the file's name, or nothing.
            Some(ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory)
            | None => Self::Damaged(said),
            Some(_) => Self::Unread(said),
        }
    }
}

impl From<&ColdError> for Flaw {
    fn from(error: &ColdError) -> Self {
        match error {
            ColdError::Io(error) => error.into(),
            ColdError::Format { cause, .. } => Self::Damaged(cause.to_string()),
            ColdError::Frame { cause, .. } => Self::Damaged(cause.to_string()),
            error => Self::Damaged(error.to_string()),
        }
    }
}

impl From<&OpenError> for Flaw {
    fn from(error: &OpenError) -> Self {
        match error {
            OpenError::Io(error) => error.into(),
            OpenError::TooManyFiles { .. } => Self::Unread(error.to_string()),
            _ => Self::Damaged(error.to_string()),
        }
    }
}

impl From<&LookupError> for Flaw {
    fn from(error: &LookupError) -> Self {
        match error {
            LookupError::Io(error) | LookupError::Unread { cause: error, .. } => error.into(),
            _ => Self::Damaged(error.to_string()),
        }
    }
}
