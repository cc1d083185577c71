//! Which columns' rows are worth keeping.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Of a column that is not admitted, one row in so many is kept all the same, to notice when that
/// changes.
const PROBE: u64 = 32;
/// A column is worth it if one look in so many is a hit.
const WORTH: u32 = 256;
/// Looks at a column before it is judged, at least.
const FEWEST_LOOKS: u32 = 4_096;

/// What one column's rows were worth of late.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Lives of a new row.
    lives: u64,
    /// Looks after which the column is judged.
    window: u32,
    looks: AtomicU32,
    hits: AtomicU32,
    closed: AtomicBool,
}

impl Admission {
    /// A column of n-grams of `order`, with a share of `rows` rows of a cache.
    pub(crate) fn new(order: u32, rows: usize) -> Self {
        // Before its share has been filled twice, a column has had no chance to hit.
        let window = u32::try_from(rows.saturating_mul(2)).unwrap_or(u32::MAX / 2);
        Self {
            // Short n-grams come again most often.
            lives: u64::from(order == 2),
            window: window.clamp(FEWEST_LOOKS, u32::MAX / 2),
            looks: AtomicU32::new(0),
            hits: AtomicU32::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// Counts looks at the column's rows.
    pub(crate) fn count(&self, looks: u32, hits: u32) {
        let all_hits = self
            .hits
            .fetch_add(hits, Ordering::Relaxed)
            .saturating_add(hits);
        let all_looks = self
            .looks
            .fetch_add(looks, Ordering::Relaxed)
            .saturating_add(looks);
        if all_looks < self.window {
            return;
        }
        self.looks.store(0, Ordering::Relaxed);
        self.hits.store(0, Ordering::Relaxed);
        let closed = self.closed.load(Ordering::Relaxed);
        let kept = if closed {
            u64::from(WORTH) * PROBE
        } else {
            WORTH.into()
        };
        self.closed.store(
            u64::from(all_hits) * kept < all_looks.into(),
            Ordering::Relaxed,
        );
    }

    /// The lives with which row `row` is taken in, if it is.
    #[inline]
    pub(crate) fn lives(&self, row: u64) -> Option<u64> {
        if !self.closed.load(Ordering::Relaxed) || row.is_multiple_of(PROBE) {
            Some(self.lives)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_never_hits_is_closed_and_opened_again_when_it_does() {
        let column = Admission::new(4, 10);
        assert_eq!(column.lives(1), Some(0));
        column.count(FEWEST_LOOKS, 0);
        assert_eq!(column.lives(1), None);
        assert_eq!(column.lives(PROBE), Some(0), "a few are tried");
        // One row in 32 is kept, so a few hits stand for many.
        column.count(FEWEST_LOOKS, 1);
        assert_eq!(column.lives(1), Some(0));
        column.count(FEWEST_LOOKS, 16);
        assert_eq!(column.lives(1), Some(0));
        column.count(FEWEST_LOOKS, 15);
        assert_eq!(column.lives(1), None);
    }

    #[test]
    fn short_n_grams_start_with_a_life() {
        assert_eq!(Admission::new(2, 10).lives(1), Some(1));
        assert_eq!(Admission::new(3, 10).lives(1), Some(0));
    }

    #[test]
    fn a_column_is_not_judged_before_its_share_was_filled() {
        let column = Admission::new(4, 1_000_000);
        column.count(1_999_999, 0);
        assert!(column.lives(1).is_some());
        column.count(1, 0);
        assert!(column.lives(1).is_none());
    }
}
