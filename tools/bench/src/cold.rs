//! Getting files out of the page cache, and proving that they were.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use engram::{Manifest, Storage, shard_paths};
use rustix::fs::{Advice, fadvise};

/// A cold run must take so many times as long as the same reads again.
const COLD_FACTOR: f64 = 5.0;

/// The files that hold a pack's rows.
///
/// # Panics
/// Never: no stripe is said to have moved.
pub fn files(pack: &Path, manifest: &Manifest) -> Vec<PathBuf> {
    match &manifest.storage {
        Storage::Attached { checkpoint } => {
            let sources = manifest.sources.iter();
            sources
                .map(|file| PathBuf::from(checkpoint).join(&file.name))
                .collect()
        }
        Storage::Packed | Storage::Cold { .. } => {
            let paths = shard_paths(pack, manifest, &BTreeMap::new());
            let paths = paths.expect("no stripe is said to have moved");
            paths.into_iter().flatten().collect()
        }
    }
}

/// Asks the system to forget the contents of `files`, which must not be mapped or being written.
///
/// # Errors
/// A file that cannot be opened.
pub fn evict(files: &[PathBuf]) -> Result<()> {
    for path in files {
        let context = || format!("cannot evict {}", path.display());
        let file = File::open(path).with_context(context)?;
        fadvise(&file, 0, None, Advice::DontNeed).with_context(context)?;
    }
    Ok(())
}

/// Whether a run was cold, by the time that the same reads took again right after it.
pub fn was_cold(first: Duration, again: Duration) -> bool {
    first.as_secs_f64() >= COLD_FACTOR * again.as_secs_f64()
}
