//! Fetches that batches hand on to later ones.

use std::sync::{Arc, Mutex};

use engram_io::lock;

use super::Fetch;
use crate::owner::Owner;

/// Fetches kept at most.
const MAX_FETCHES: usize = 64;
/// Rows that a kept fetch has memory for at most: a decode step should not hold the plan of a prompt.
const MAX_ROWS: usize = 1 << 16;

/// Fetches that are not in use.
#[derive(Debug)]
pub(crate) struct FetchPool {
    fetches: Mutex<Vec<Arc<Fetch>>>,
    owner: Owner,
}

impl FetchPool {
    pub(crate) fn new(owner: Owner) -> Self {
        Self {
            fetches: Mutex::default(),
            owner,
        }
    }

    /// A fetch that nobody else has, without rows.
    pub(crate) fn take(&self) -> Arc<Fetch> {
        if !self.owner.is_current() {
            return Arc::default();
        }
        lock(&self.fetches).pop().unwrap_or_default()
    }

    /// Takes a fetch back, if nobody else has it and it is not too large.
    pub(crate) fn put_back(&self, mut fetch: Arc<Fetch>) {
        let unused = Arc::get_mut(&mut fetch).filter(|fetch| fetch.kept_rows() <= MAX_ROWS);
        if let Some(unused) = unused {
            unused.clear();
            if !self.owner.is_current() {
                return;
            }
            let mut fetches = lock(&self.fetches);
            if fetches.len() < MAX_FETCHES {
                fetches.push(fetch);
            }
        }
    }
}
