//! Powers of a base, by which polynomial hashes weigh the ids of a window.

/// `base^k mod buckets` for k from 0 to `order` - 1.
pub(super) fn powers(base: u64, buckets: u64, order: u32) -> Vec<u64> {
    let powers = std::iter::successors(Some(1 % buckets), |&power| {
        let next = u128::from(power) * u128::from(base) % u128::from(buckets);
        u64::try_from(next).ok()
    });
    powers.take(order as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_remainders() {
        assert_eq!(powers(10, 7, 4), [1, 3, 2, 6]);
        assert_eq!(powers(5, 1, 2), [0, 0]);
        let (base, buckets) = (u64::MAX, (1 << 36) - 1);
        let squared = u128::from(base) * u128::from(base) % u128::from(buckets);
        assert_eq!(u128::from(powers(base, buckets, 3)[2]), squared);
    }
}
