//! What batches hand on to later ones.

use std::sync::Arc;

use crate::{backing::FetchPool, buffer_pool::Buffers, gather::GatherPool, owner::Owner};

/// The unused memory of a store, and its threads.
#[derive(Debug)]
pub(crate) struct Pools {
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) fetches: FetchPool,
    pub(crate) gather: Arc<GatherPool>,
    /// Whose they are.
    pub(crate) owner: Owner,
}

impl Pools {
    /// No memory yet; unused buffers may have `max_bytes` together.
    pub(crate) fn new(owner: Owner, max_bytes: usize, gather_threads: Option<usize>) -> Self {
        let gather = Arc::new(GatherPool::new(gather_threads));
        Self {
            buffers: Arc::new(Buffers::new(owner, max_bytes, gather.clone())),
            fetches: FetchPool::new(owner),
            gather,
            owner,
        }
    }
}
