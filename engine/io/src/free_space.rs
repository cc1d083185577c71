//! What a file system has room for.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path};

use rustix::fs::{Access, access, statvfs};

use crate::IoError;

/// Bytes that this user may still write to the file system of `folder`; none where it does not say, or this user may
/// not write to the folder.
pub fn free_space(folder: &Path) -> Option<u64> {
    access(folder, Access::WRITE_OK).ok()?;
    let system = statvfs(folder).ok()?;
    // A ramfs, and some in user space, have no size.
    (system.f_blocks > 0).then(|| system.f_bavail.saturating_mul(system.f_frsize))
}

/// A folder whose file system has less room than is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// Bytes that are to be written to its file system.
    pub needed: u64,
    /// Bytes that are free there for this user.
    pub free: u64,
}

/// Finds a folder without room among these, each with the bytes that are to be written to it. They may lie in one file
/// system. One that does not say what it has left has room.
///
/// # Errors
/// A folder that is not there.
pub fn find_no_room<'a>(
    wanted: impl IntoIterator<Item = (&'a Path, u64)>,
) -> Result<Option<NoRoom<'a>>, IoError> {
    let mut needed_on: BTreeMap<u64, u64> = BTreeMap::new();
    for (folder, bytes) in wanted {
        let metadata = fs::metadata(folder).map_err(IoError::os("open", folder))?;
        let needed = needed_on.entry(metadata.dev()).or_default();
        *needed = needed.saturating_add(bytes);
        let needed = *needed;
        if let Some(free) = free_space(folder).filter(|&free| free < needed) {
            return Ok(Some(NoRoom {
                folder,
                needed,
                free,
            }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_less_room_than_there_can_be() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_space(folder.path()).is_none_or(|free| free < 1 << 60));
        assert_eq!(free_space(&folder.path().join("missing")), None);
    }

    #[test]
    fn folders_of_one_file_system_share_its_room() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [first, second] = folders.each_ref().map(tempfile::TempDir::path);
        let room = find_no_room([(first, 1), (second, 1)]).unwrap();
        assert_eq!(room, None);
        if free_space(first).is_some() {
            let half = 1 << 59;
            let wanted = [(first, 1), (second, half), (first, half)];
            let found = find_no_room(wanted).unwrap().unwrap();
            assert_eq!((found.folder, found.needed), (second, half + 1));
        }
        assert!(find_no_room([(&*first.join("missing"), 1)]).is_err());
    }
}
