//! Room for what is shared.

use std::{collections::BTreeMap, fs, io::ErrorKind, os::unix::fs::MetadataExt, path::Path};

use engram_io::{IoError, create_folder, free_space};

use crate::error::OpenError;

/// Checks that there is room for so many bytes in each of these folders, which may lie in one file system: all of it,
/// before anything is made. A folder that cannot be made is left to those who need it.
pub(super) fn check<'a>(wanted: impl Iterator<Item = (&'a Path, u64)>) -> Result<(), OpenError> {
    let mut needed_on: BTreeMap<u64, u64> = BTreeMap::new();
    for (folder, bytes) in wanted.filter(|(_, bytes)| *bytes > 0) {
        let Ok(found) = create_folder(folder).map(|()| fs::metadata(folder)) else {
            continue;
        };
        let device = found.map_err(IoError::os("open", folder))?.dev();
        let needed = needed_on.entry(device).or_default();
        *needed = needed.saturating_add(bytes);
        if free_space(folder).is_some_and(|free| free < *needed) {
            return Err(none(folder, *needed));
        }
    }
    Ok(())
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
