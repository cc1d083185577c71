//! Which columns' rows are worth keeping: admission by column.
//!
//! In the manner of `TinyLFU`, a row must earn its place; but the history that decides is kept for whole
//! columns, not for rows, because the rows of one n-gram order come again about equally often. A column whose
//! lookups hardly ever hit is closed, and only a sample of its rows is taken in, to notice when that changes.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Of a closed column, one row in so many is sampled.
const SAMPLE: u64 = 32;
/// A column is open as long as at least one lookup in so many hits.
const LOOKUPS_PER_HIT: u32 = 256;
/// Lookups after which a column is judged, at least.
const MIN_WINDOW: u32 = 4_096;

/// How often lookups of one column have hit of late.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Credit of a new row.
    credit: u64,
    /// Lookups after which the column is judged.
    window: u32,
    lookups: AtomicU32,
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
            credit: u64::from(order == 2),
            window: window.clamp(MIN_WINDOW, u32::MAX / 2),
            lookups: AtomicU32::new(0),
            hits: AtomicU32::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// Counts lookups of the column's rows, and hits among them.
    pub(crate) fn count(&self, lookups: u32, hits: u32) {
        let all_hits = self
            .hits
            .fetch_add(hits, Ordering::Relaxed)
            .saturating_add(hits);
        let all_lookups = self
            .lookups
            .fetch_add(lookups, Ordering::Relaxed)
            .saturating_add(lookups);
        if all_lookups < self.window {
            return;
        }
        self.lookups.store(0, Ordering::Relaxed);
        self.hits.store(0, Ordering::Relaxed);
        let closed = self.closed.load(Ordering::Relaxed);
        let kept = if closed {
            u64::from(LOOKUPS_PER_HIT) * SAMPLE
        } else {
            LOOKUPS_PER_HIT.into()
        };
        self.closed.store(
            u64::from(all_hits) * kept < all_lookups.into(),
            Ordering::Relaxed,
        );
    }

    /// The credit with which row `row` is taken in, if it is.
    #[inline]
    pub(crate) fn credit(&self, row: u64) -> Option<u64> {
        if !self.closed.load(Ordering::Relaxed) || row.is_multiple_of(SAMPLE) {
            Some(self.credit)
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
        assert_eq!(column.credit(1), Some(0));
        column.count(MIN_WINDOW, 0);
        assert_eq!(column.credit(1), None);
        assert_eq!(column.credit(SAMPLE), Some(0), "a few are tried");
        // One row in 32 is kept, so a few hits stand for many.
        column.count(MIN_WINDOW, 1);
        assert_eq!(column.credit(1), Some(0));
        column.count(MIN_WINDOW, 16);
        assert_eq!(column.credit(1), Some(0));
        column.count(MIN_WINDOW, 15);
        assert_eq!(column.credit(1), None);
    }

    #[test]
    fn short_n_grams_start_with_credit() {
        assert_eq!(Admission::new(2, 10).credit(1), Some(1));
        assert_eq!(Admission::new(3, 10).credit(1), Some(0));
    }

    #[test]
    fn a_column_is_not_judged_before_its_share_was_filled() {
        let column = Admission::new(4, 1_000_000);
        column.count(1_999_999, 0);
        assert!(column.credit(1).is_some());
        column.count(1, 0);
        assert!(column.credit(1).is_none());
    }
}
