//! What batches hand on to later ones.

use std::sync::Arc;

use crate::{backing::FetchPool, buffer_pool::Buffers, gather::GatherPool};

/// The unused memory of a store, and its threads.
#[derive(Debug)]
pub(crate) struct Pools {
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) fetches: FetchPool,
    pub(crate) gather: Arc<GatherPool>,
}
