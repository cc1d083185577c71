//! Room for what is shared.

use std::{io::ErrorKind, path::Path};

use engram_io::{IoError, create_folder, find_no_room, free_space};

use crate::error::OpenError;

/// Checks that there is room for so many bytes in each of these folders, which may lie in one file system: all of it,
/// before anything is made. A folder that cannot be made is left to those who need it.
pub(super) fn check<'a>(wanted: impl Iterator<Item = (&'a Path, u64)>) -> Result<(), OpenError> {
    let wanted = wanted.filter(|(folder, bytes)| *bytes > 0 && create_folder(folder).is_ok());
    match find_no_room(wanted)? {
        None => Ok(()),
        Some(lacking) => Err(none(lacking.folder, lacking.needed)),
    }
}

/// That `folder` has no room for `needed` bytes.
pub(super) fn none(folder: &Path, needed: u64) -> OpenError {
    OpenError::NoSpace {
        folder: folder.into(),
        needed,
        free: free_space(folder).unwrap_or(0),
    }
}

/// Whether `error` is of a file system without room.
pub(super) fn is_full(error: &IoError) -> bool {
    let kind = error.os_error().map(std::io::Error::kind);
    matches!(
        kind,
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
    )
}
