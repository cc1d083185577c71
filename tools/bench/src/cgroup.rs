//! A limit on memory, page cache included, so that all contenders have the same.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result};

/// A control group of this process's children; it goes with this value.
#[derive(Debug)]
pub(crate) struct Limit {
    folder: PathBuf,
}

impl Limit {
    /// A group whose processes have up to `bytes` of memory.
    ///
    /// # Errors
    /// A system without memory control groups, or one that does not let us.
    pub(crate) fn new(name: &str, bytes: u64) -> Result<Self> {
        let roots = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        let mut last = None;
        for (root, file) in roots {
            let folder = Path::new(root).join(format!("engram-{}-{name}", process::id()));
            let limit = Self { folder };
            let made = fs::create_dir(&limit.folder)
                .and_then(|()| fs::write(limit.folder.join(file), bytes.to_string()));
            match made {
                Ok(()) => return Ok(limit),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("two were tried")).context("cannot limit memory by a control group")
    }

    /// The group's folder, for [`join`].
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // It is empty once its processes have ended; a stale one does no harm.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Puts this process into the group at `folder`.
///
/// # Errors
/// A group that is not there or refuses it.
pub(crate) fn join(folder: &Path) -> Result<()> {
    let procs = folder.join("cgroup.procs");
    fs::write(&procs, process::id().to_string())
        .with_context(|| format!("cannot join {}", folder.display()))
}
