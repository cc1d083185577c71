//! What tiers read from.

use std::sync::Arc;

use engram_io::MemoryReader;

use crate::tier::TierFile;

/// The files of a pack that tiers read.
pub(super) struct Opened {
    /// By file; none for those whose rows are resident or fetched.
    pub(super) files: Arc<[Option<TierFile>]>,
    /// By table and column; none for those that are not loaded. No columns in an attached pack.
    pub(super) resident: Vec<Vec<Option<MemoryReader>>>,
}
