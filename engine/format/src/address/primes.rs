//! The bucket counts of a scheme: the next unused primes above a start.

use std::collections::BTreeSet;

/// Hands out primes, each once over a whole model.
#[derive(Default)]
pub(crate) struct PrimePool {
    taken: BTreeSet<u64>,
}

impl PrimePool {
    /// The next `count` primes that are at least `start` and were not handed out before, ascending.
    pub(crate) fn take(&mut self, start: u64, count: usize) -> Vec<u64> {
        let mut primes = Vec::with_capacity(count);
        let mut candidate = start;
        while primes.len() < count {
            if is_prime(candidate) && self.taken.insert(candidate) {
                primes.push(candidate);
            }
            candidate += 1;
        }
        primes
    }
}

/// Trial division: a model asks for some dozens of primes of at most nine digits.
fn is_prime(n: u64) -> bool {
    n >= 2
        && (n == 2 || n % 2 == 1)
        && (3..)
            .step_by(2)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_are_sorted_out() {
        let primes: Vec<u64> = (0..30).filter(|&n| is_prime(n)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
    }

    #[test]
    fn a_second_search_continues_after_the_first() {
        let mut pool = PrimePool::default();
        assert_eq!(pool.take(16_000_000, 2), [16_000_057, 16_000_079]);
        assert_eq!(pool.take(16_000_000, 2), [16_000_081, 16_000_097]);
    }
}
