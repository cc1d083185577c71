//! Files that opening a pack has made in shared folders.

use std::{fs, path::PathBuf, sync::Mutex};

use engram_io::lock;

/// Files that are removed again unless the pack is opened. Whoever has mapped one meanwhile keeps its memory.
#[derive(Debug, Default)]
pub(super) struct MadeFiles(Mutex<Vec<PathBuf>>);

impl MadeFiles {
    pub(super) fn add(&self, path: PathBuf) {
        lock(&self.0).push(path);
    }

    /// Leaves the files where they are.
    pub(super) fn keep(self) {
        lock(&self.0).clear();
    }
}

impl Drop for MadeFiles {
    fn drop(&mut self) {
        for path in lock(&self.0).drain(..) {
            // What cannot be removed is of use to the next who opens the pack.
            let _ = fs::remove_file(path);
        }
    }
}
