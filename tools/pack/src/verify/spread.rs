//! An even choice of some of many.

use anyhow::{Result, ensure};

/// Checks a percentage given by a user.
pub(super) fn check_percent(percent: f64) -> Result<()> {
    ensure!(
        percent > 0.0 && percent <= 100.0,
        "--sample is {percent}, expected above 0 and up to 100"
    );
    Ok(())
}

/// Some of the numbers below a limit, evenly spread, in order.
pub(super) struct Spread {
    of: u64,
    count: u64,
    next: u64,
}

impl Spread {
    /// `percent` of the numbers below `of`, rounded up.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a file's groups, which are far below 2^53"
    )]
    pub(super) fn new(of: u64, percent: f64) -> Self {
        let count = (of as f64 * percent / 100.0).ceil() as u64;
        Self {
            of,
            count: count.min(of),
            next: 0,
        }
    }
}

impl Iterator for Spread {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if self.next == self.count {
            return None;
        }
        let number = u128::from(self.next) * u128::from(self.of) / u128::from(self.count);
        self.next += 1;
        u64::try_from(number).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_kept_and_the_choice_differs() {
        for (of, percent, expected) in [
            (10, 40.0, vec![0, 2, 5, 7]),
            (3, 100.0, vec![0, 1, 2]),
            (1 << 40, 1e-300, vec![0]),
            (7, 1.0, vec![0]),
            (0, 50.0, vec![]),
        ] {
            assert_eq!(
                Spread::new(of, percent).collect::<Vec<_>>(),
                expected,
                "{percent} % of {of}"
            );
        }
    }

    #[test]
    fn percentages_outside_the_range_are_refused() {
        for percent in [0.0, -1.0, 100.1, f64::NAN, f64::INFINITY] {
            assert!(check_percent(percent).is_err(), "{percent}");
        }
    }
}
