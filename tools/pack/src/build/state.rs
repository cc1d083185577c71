//! The mark of an unfinished build, which also keeps two builds apart.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use engram_format::{Digest, MANIFEST_FILE, Manifest};

use super::new_folder;

const STATE_FILE: &str = "build.unfinished";

/// An unfinished build that this process holds.
///
/// The file holds the digest of the plan, so that a build never goes on with another checkpoint.
pub(super) struct BuildState {
    path: PathBuf,
    _lock: File,
}

impl BuildState {
    /// Begins a build of `plan` in `pack`, or takes up an unfinished one.
    pub(super) fn begin(pack: &Path, plan: &Manifest, resume: bool) -> Result<Self> {
        let path = pack.join(STATE_FILE);
        if pack.join(MANIFEST_FILE).exists() && !path.exists() {
            bail!("{} is a finished pack already", pack.display());
        }
        if !path.exists() {
            new_folder(pack)?;
        } else if !resume {
            bail!(
                "{} holds an unfinished build; go on with it by --resume, or remove it",
                pack.display()
            );
        }
        let context = || format!("cannot open {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(context)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                bail!("another build of {} is running", pack.display())
            }
            locked => locked.with_context(context)?,
        }
        let digest = Digest::of(plan.to_text().as_bytes()).to_string();
        let mut stored = String::new();
        file.read_to_string(&mut stored).with_context(context)?;
        // Killed before the digest was on the drive, the earlier build had not written a shard.
        if stored.len() < digest.len() {
            file.set_len(0).with_context(context)?;
            file.write_all(digest.as_bytes()).with_context(context)?;
            file.sync_all().with_context(context)?;
        } else if stored != digest {
            bail!(
                "the unfinished build in {} is of another checkpoint or configuration (plan {stored}, now {digest}); remove it",
                pack.display()
            );
        }
        Ok(Self { path, _lock: file })
    }

    /// Removes the mark of a build whose manifest is written.
    pub(super) fn end(self) -> Result<()> {
        fs::remove_file(&self.path)
            .with_context(|| format!("cannot remove {}", self.path.display()))
    }
}
