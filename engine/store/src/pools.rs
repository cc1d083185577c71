//! What batches hand on to later ones.

use crate::{backing::FetchPool, buffer_pool::Buffers};

/// The unused memory of a store.
#[derive(Debug)]
pub(crate) struct Pools {
    pub(crate) buffers: std::sync::Arc<Buffers>,
    pub(crate) fetches: FetchPool,
}
