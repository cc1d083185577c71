//! How long rows took.

use std::time::Duration;

/// How long the rows of a block took since the session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RowTimes {
    /// The decoder layer that the block is ahead of.
    pub layer: usize,
    /// Rows asked for.
    pub rows: u64,
    /// Asking for rows, which copies those that are in memory.
    pub asked: Duration,
    /// From asking until the last row of a pass was there.
    pub fetched: Duration,
    /// The part of [`Self::fetched`] during which something else was computed: neither asking nor waiting, for this
    /// block or another.
    pub hidden: Duration,
    /// From when the block needed rows until they were there.
    pub waited: Duration,
    /// Decoding rows and computing the block; on a GPU, the time to launch that.
    pub computed: Duration,
}

impl RowTimes {
    /// The share of [`Self::fetched`] that was hidden behind computation; none if no rows were asked for.
    pub fn overlap(&self) -> Option<f64> {
        let fetched = self.fetched.as_secs_f64();
        (fetched > 0.0).then(|| self.hidden.as_secs_f64() / fetched)
    }
}
