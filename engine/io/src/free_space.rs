//! What a file system has room for.

use std::path::Path;

use rustix::fs::{Access, access, statvfs};

/// Bytes that this user may still write to the file system of `folder`; none where it does not say, or this user may
/// not write to the folder.
pub fn free_space(folder: &Path) -> Option<u64> {
    access(folder, Access::WRITE_OK).ok()?;
    let system = statvfs(folder).ok()?;
    // A ramfs, and some in user space, have no size.
    (system.f_blocks > 0).then(|| system.f_bavail.saturating_mul(system.f_frsize))
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
}
