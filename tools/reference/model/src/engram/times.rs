//! What rows have cost.

use std::time::Duration;

/// What a block has cost since the session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RowTimes {
    /// The decoder layer that the block is ahead of.
    pub layer: usize,
    /// Rows asked for.
    pub rows: u64,
    /// Asking for them, which copies those in memory.
    pub asked: Duration,
    /// From then on until the last row of a pass was there, that included.
    pub fetched: Duration,
    /// What of it neither asking nor waiting took, for this block or another: something was computed meanwhile.
    pub hidden: Duration,
    /// From when the block needed rows until they were there.
    pub waited: Duration,
    /// Decoding rows and computing the block; on a device, telling it to.
    pub computed: Duration,
}

impl RowTimes {
    /// How much of the time that rows took to come other layers were computed; none, where no rows were asked for.
    pub fn overlap(&self) -> Option<f64> {
        let fetched = self.fetched.as_secs_f64();
        (fetched > 0.0).then(|| self.hidden.as_secs_f64() / fetched)
    }
}
