//! What batches hand on to later ones.

use crate::{backing::FetchPool, buffer_pool::Buffers, owner::Owner};

/// The unused memory of a store.
#[derive(Debug)]
pub(crate) struct Pools {
    pub(crate) buffers: std::sync::Arc<Buffers>,
    pub(crate) fetches: FetchPool,
    /// Whose they are.
    pub(crate) owner: Owner,
}

impl Pools {
    /// No memory yet; unused buffers may have `max_bytes` together.
    pub(crate) fn new(owner: Owner, max_bytes: usize) -> Self {
        Self {
            buffers: std::sync::Arc::new(Buffers::new(owner, max_bytes)),
            fetches: FetchPool::new(owner),
            owner,
        }
    }
}
