//! What tiers read from.

use std::sync::Arc;

use engram_io::ReadAt;

use crate::tier::ResidentShard;

/// The files of a pack that tiers read.
pub(super) struct Opened {
    /// By file; none for those whose rows are resident or fetched.
    pub(super) readers: Arc<[Option<Box<dyn ReadAt>>]>,
    /// By table and column; none for those that are not loaded. No columns in an attached pack.
    pub(super) resident: Vec<Vec<Option<ResidentShard>>>,
}
