//! Getting files out of the page cache, and proving that they were.

use std::{fs::File, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use rustix::fs::{Advice, fadvise};

/// A cold run must take so many times as long as the same reads again.
const COLD_FACTOR: f64 = 5.0;

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
