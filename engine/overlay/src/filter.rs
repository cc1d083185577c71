//! Tells keys that have no entry, fast.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bits of each key that the filter is made for: about one key in a hundred passes that has no entry.
const KEY_BITS: usize = 16;
/// Keys that the smallest filter is made for.
const MIN_KEYS: usize = 64;

/// A Bloom filter of blocks of one word: a key sets three bits of a word. Keys are added while others ask; those who
/// have an older version of the entries see keys that they have not, which costs them a look and no more.
#[derive(Debug)]
pub(crate) struct Filter {
    words: Box<[AtomicU64]>,
    /// The bits of a hash above these say which word.
    shift: u32,
}

impl Filter {
    /// A filter for about `keys` keys.
    pub(crate) fn new(keys: usize) -> Self {
        let bits = (keys.max(MIN_KEYS) * KEY_BITS).next_power_of_two();
        let words = bits / 64;
        Self {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            shift: 64 - words.ilog2(),
        }
    }

    /// Keys that it is made for.
    pub(crate) fn room(&self) -> usize {
        self.words.len() * 64 / KEY_BITS
    }

    pub(crate) fn insert(&self, hash: u64) {
        // Published with the entries that the key belongs to.
        self.word(hash).fetch_or(mask(hash), Ordering::Relaxed);
    }

    /// Whether the key of that hash may have an entry.
    #[inline]
    pub(crate) fn may_have(&self, hash: u64) -> bool {
        let mask = mask(hash);
        self.word(hash).load(Ordering::Relaxed) & mask == mask
    }

    #[inline]
    fn word(&self, hash: u64) -> &AtomicU64 {
        let index = usize::try_from(hash >> self.shift).expect("an index fits");
        &self.words[index]
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.words)
    }
}

#[inline]
fn mask(hash: u64) -> u64 {
    1 << (hash & 63) | 1 << (hash >> 6 & 63) | 1 << (hash >> 12 & 63)
}

/// The hash of a row id: no two have the same.
#[inline]
pub(crate) fn hash_row(row: u64) -> u64 {
    finish(row)
}

/// The hash of an n-gram.
pub(crate) fn hash_ngram(ngram: &[u32]) -> u64 {
    finish(ngram.iter().fold(START, |state, &id| step(state, id)))
}

/// The state of the hash of an n-gram before its first id.
pub(crate) const START: u64 = 0x9E37_79B9_7F4A_7C15;

/// The state after one more id.
#[inline]
pub(crate) fn step(state: u64, id: u32) -> u64 {
    (state ^ u64::from(id))
        .wrapping_mul(0xD6E8_FEB8_6659_FD93)
        .rotate_left(32)
}

/// The hash that a state stands for: the mixer of `SplitMix64`, a permutation.
#[inline]
pub(crate) fn finish(state: u64) -> u64 {
    let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_were_added_pass_and_few_others() {
        for keys in [10, 1_000, 100_000] {
            let filter = Filter::new(keys);
            assert!(filter.room() >= keys);
            let keys = keys as u64;
            (0..keys).for_each(|key| filter.insert(hash_row(key * 7)));
            assert!((0..keys).all(|key| filter.may_have(hash_row(key * 7))));
            let others = 100_000;
            let passed = (0..others).filter(|key| filter.may_have(hash_row(key * 7 + 1)));
            assert!((passed.count() as u64) < others / 50, "{keys} keys");
        }
    }
}
