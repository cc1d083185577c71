//! The bucket counts of a scheme: the next unused primes above a start.

use std::collections::{BTreeMap, BTreeSet};

/// The first twelve primes. As bases of the Miller-Rabin test they decide every number below 3.3 * 10^24 (Sorenson and
/// Webster, 2015), so every `u64`.
const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
/// Below this, the first five are enough (Jaeschke, 1993). All bucket counts are below it.
const FIVE_BASES_DECIDE: u64 = 2_152_302_898_747;

/// Hands out primes, each once over a whole model.
#[derive(Default)]
pub(super) struct PrimePool {
    taken: BTreeSet<u64>,
    /// For each start, where the search from it goes on: all primes from the start up to here are taken.
    cursors: BTreeMap<u64, u64>,
}

impl PrimePool {
    /// The next `count` primes that are at least `start` and were not handed out before, ascending.
    pub(super) fn take(&mut self, start: u64, count: usize) -> Vec<u64> {
        let cursor = self.cursors.entry(start).or_insert(start);
        let mut primes = Vec::with_capacity(count);
        while primes.len() < count {
            if is_prime(*cursor) && self.taken.insert(*cursor) {
                primes.push(*cursor);
            }
            *cursor += 1;
        }
        primes
    }
}

/// Whether `n` is prime, by the Miller-Rabin test.
fn is_prime(n: u64) -> bool {
    if let Some(&divisor) = BASES.iter().find(|&&base| n.is_multiple_of(base)) {
        return n == divisor;
    }
    if n < 2 {
        return false;
    }
    let bases = if n < FIVE_BASES_DECIDE {
        &BASES[..5]
    } else {
        &BASES
    };
    // n - 1 = odd * 2^twos
    let twos = (n - 1).trailing_zeros();
    let odd = (n - 1) >> twos;
    bases.iter().all(|&base| {
        let mut power = pow_mod(base, odd, n);
        if power == 1 || power == n - 1 {
            return true;
        }
        (1..twos).any(|_| {
            power = mul_mod(power, power, n);
            power == n - 1
        })
    })
}

/// `base^exponent mod modulus`.
fn pow_mod(mut base: u64, mut exponent: u64, modulus: u64) -> u64 {
    let mut power = 1;
    while exponent > 0 {
        if exponent % 2 == 1 {
            power = mul_mod(power, base, modulus);
        }
        base = mul_mod(base, base, modulus);
        exponent /= 2;
    }
    power
}

fn mul_mod(a: u64, b: u64, modulus: u64) -> u64 {
    let remainder = u128::from(a) * u128::from(b) % u128::from(modulus);
    u64::try_from(remainder).expect("a remainder is below its divisor")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_trial_division(n: u64) -> bool {
        let mut divisors = (2..).take_while(|d| d * d <= n);
        n >= 2 && divisors.all(|d| !n.is_multiple_of(d))
    }

    /// The rule of the models: each search begins at its start again.
    fn by_the_rule(searches: &[(u64, usize)]) -> Vec<Vec<u64>> {
        let mut taken = BTreeSet::new();
        let searches = searches.iter().map(|&(start, count)| {
            let unused = (start..).filter(|&n| by_trial_division(n) && taken.insert(n));
            unused.take(count).collect()
        });
        searches.collect()
    }

    #[test]
    fn numbers_are_prime_where_trial_division_says_so() {
        // Around the starts of the models and the largest start that is allowed.
        for start in [0, 646_400, 16_000_000, 20_000_000, 1 << 32, 1 << 35] {
            for n in start..start + if start == 0 { 30_000 } else { 300 } {
                assert_eq!(is_prime(n), by_trial_division(n), "{n}");
            }
        }
    }

    #[test]
    fn numbers_that_deceive_fewer_bases_are_sorted_out() {
        // The least composites that pass for prime with the first 4, 5, ... bases (OEIS A014233).
        for composite in [
            3_215_031_751,
            2_152_302_898_747,
            3_474_749_660_383,
            341_550_071_728_321,
            3_825_123_056_546_413_051,
        ] {
            assert!(!is_prime(composite), "{composite}");
        }
        // The largest prime below 2^64, and Carmichael's least number.
        assert!(is_prime(18_446_744_073_709_551_557));
        assert!(!is_prime(u64::MAX));
        assert!(!is_prime(561));
    }

    #[test]
    fn a_second_search_continues_after_the_first() {
        let mut pool = PrimePool::default();
        assert_eq!(pool.take(16_000_000, 2), [16_000_057, 16_000_079]);
        assert_eq!(pool.take(16_000_000, 2), [16_000_081, 16_000_097]);
    }

    proptest! {
        #[test]
        fn a_pool_gives_the_primes_of_the_rule(
            searches in prop::collection::vec((0_u64..200, 0_usize..20), 1..12),
        ) {
            let mut pool = PrimePool::default();
            let found: Vec<_> = searches.iter().map(|&(start, count)| pool.take(start, count)).collect();
            prop_assert_eq!(found, by_the_rule(&searches));
        }
    }
}
