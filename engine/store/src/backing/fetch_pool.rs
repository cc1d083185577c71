//! Fetches that batches hand on to later ones.

use std::sync::{Arc, Mutex};

use engram_io::lock;

use super::Fetch;

/// Fetches kept at most.
const MAX_FETCHES: usize = 64;
/// Rows that a kept fetch has memory for at most: a decode step should not hold the plan of a prompt.
const MAX_ROWS: usize = 1 << 16;

/// Fetches that are not in use.
#[derive(Debug, Default)]
pub(crate) struct FetchPool(Mutex<Vec<Arc<Fetch>>>);

impl FetchPool {
    /// A fetch that nobody else has, without rows.
    pub(crate) fn take(&self) -> Arc<Fetch> {
        lock(&self.0).pop().unwrap_or_default()
    }

    /// Takes a fetch back, if nobody else has it and it is not too large.
    pub(crate) fn put_back(&self, mut fetch: Arc<Fetch>) {
        let unused = Arc::get_mut(&mut fetch).filter(|fetch| fetch.kept_rows() <= MAX_ROWS);
        if let Some(unused) = unused {
            unused.clear();
            let mut fetches = lock(&self.0);
            if fetches.len() < MAX_FETCHES {
                fetches.push(fetch);
            }
        }
    }
}
