//! Remainders by a divisor known ahead, without a division.

/// An invariant divisor `d`.
///
/// Let `r = floor((2^64 - 1) / d)`, so that `2^64 - r * d` lies in `1..=d`. For any `x < 2^64`,
/// `x * r / 2^64 = x / d - x * (2^64 - r * d) / (d * 2^64) > x / d - 1`, hence its floor is the
/// quotient or one less, and one conditional subtraction mends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Divisor {
    divisor: u64,
    reciprocal: u64,
}

impl Divisor {
    /// # Panics
    /// If `divisor` is zero.
    pub(crate) const fn new(divisor: u64) -> Self {
        assert!(divisor != 0, "a divisor is at least one");
        Self {
            divisor,
            reciprocal: u64::MAX / divisor,
        }
    }

    /// `(x / d, x % d)`.
    #[inline]
    pub(crate) const fn div_rem(self, x: u64) -> (u64, u64) {
        let quotient = ((x as u128 * self.reciprocal as u128) >> 64) as u64;
        let remainder = x - quotient * self.divisor;
        if remainder >= self.divisor {
            (quotient + 1, remainder - self.divisor)
        } else {
            (quotient, remainder)
        }
    }

    /// `x % d`.
    #[inline]
    pub(crate) const fn rem(self, x: u64) -> u64 {
        self.div_rem(x).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn edges_divide_exactly() {
        let edges = [
            0,
            1,
            2,
            15,
            16_000_057,
            1 << 32,
            (1 << 63) - 1,
            1 << 63,
            u64::MAX - 1,
            u64::MAX,
        ];
        for divisor in edges.into_iter().filter(|&d| d != 0) {
            for x in edges {
                assert_eq!(Divisor::new(divisor).div_rem(x), (x / divisor, x % divisor));
            }
        }
    }

    proptest! {
        #[test]
        fn any_pair_divides_exactly(x: u64, divisor in 1u64..) {
            prop_assert_eq!(Divisor::new(divisor).div_rem(x), (x / divisor, x % divisor));
        }

        #[test]
        fn neighbours_of_multiples_divide_exactly(q in 0u64..1 << 38, d in 1u64..1 << 26, off in -1i64..=1) {
            let x = (q * d).saturating_add_signed(off);
            prop_assert_eq!(Divisor::new(d).div_rem(x), (x / d, x % d));
        }
    }
}
