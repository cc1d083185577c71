//! What receives the rows of a table.

use std::sync::Arc;

use crate::{metrics::Counters, source::Source, tier::CacheTier};

/// What the rows of one table go through when they have come.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// Where they lie, and whether they are right.
    pub(crate) source: Arc<Source>,
    /// Where they are offered.
    pub(crate) cache: Option<Arc<CacheTier>>,
    pub(crate) counters: Arc<Counters>,
}
