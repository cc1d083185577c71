//! Rows read before, in a fixed amount of memory.
//!
//! A set-associative cache with CLOCK replacement. Each row may be in two sets of eight ways (two-choice
//! hashing), so that one set is rarely full while others have room; the tags of a set fill one cache line.
//! A tag holds a row id and the row's credit, the reference count of generalised CLOCK: a hit adds one, the
//! search for a victim takes one, and a row without credit is replaced.
//!
//! The row's seal lies beside its bytes and is checked on every hit. So readers and writers need no locks:
//! what was half written, by a thread or by a process that was killed, is no hit.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use engram_format::{LayerId, RowId, seal};
use engram_io::SharedWords;

const WAYS: usize = 8;
const WORD_BYTES: usize = 8;
/// Bits of a tag that hold the row id plus one.
const KEY_BITS: u32 = 56;
const KEY: u64 = (1 << KEY_BITS) - 1;
const ONE_CREDIT: u64 = 1 << KEY_BITS;
/// The most credit that hits give a row. When no row of either set is without credit, each row of the first
/// set loses one.
const MAX_CREDIT: u64 = 3;

/// A set-associative cache of the rows of one table.
#[derive(Debug)]
pub(crate) struct RowCache {
    layer: LayerId,
    row_bytes: usize,
    /// Words of a row and its seal.
    row_words: usize,
    sets: usize,
    /// The tags of all sets, then the rows of all ways.
    words: SharedWords,
}

/// Where a row may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way(usize);

impl RowCache {
    /// Words of a cache of up to `bytes` bytes, and its number of sets.
    fn geometry(row_bytes: usize, bytes: usize) -> (usize, usize) {
        let row_words = row_bytes.div_ceil(WORD_BYTES) + 1;
        let set_words = WAYS * (row_words + 1);
        let sets = bytes / WORD_BYTES / set_words;
        (sets * set_words, sets)
    }

    /// A cache of up to `bytes` bytes in memory that `words` provides, none if not even one set fits.
    ///
    /// # Errors
    /// Those of `words`.
    pub(crate) fn new<E>(
        layer: LayerId,
        row_bytes: usize,
        bytes: usize,
        words: impl FnOnce(usize) -> Result<SharedWords, E>,
    ) -> Result<Option<Self>, E> {
        let (count, sets) = Self::geometry(row_bytes, bytes);
        if sets == 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            layer,
            row_bytes,
            row_words: row_bytes.div_ceil(WORD_BYTES) + 1,
            sets,
            words: words(count)?,
        }))
    }

    /// Bytes of its memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    /// Takes the cache's memory from the system, as long as `go_on` says so of the bytes that are left to take.
    pub(crate) fn populate(&self, go_on: impl Fn(usize) -> bool) {
        self.words.populate(go_on);
    }

    /// Words of a cache of up to `bytes` bytes; 0 if not even one set fits.
    pub(crate) fn words_of(row_bytes: usize, bytes: usize) -> usize {
        Self::geometry(row_bytes, bytes).0
    }

    /// Rows that fit a cache of `bytes` bytes.
    pub(crate) fn capacity_of(row_bytes: usize, bytes: usize) -> usize {
        Self::geometry(row_bytes, bytes).1 * WAYS
    }

    /// Rows that fit.
    pub(crate) fn capacity(&self) -> usize {
        self.sets * WAYS
    }

    /// The first tags of the two sets that the row may be in.
    #[inline]
    fn sets(&self, row: RowId) -> [usize; 2] {
        // Fibonacci hashing spreads neighbours, and the upper half of a product is a fair remainder.
        let hash = row.0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        [
            hash,
            hash.rotate_right(29).wrapping_mul(0xD1B5_4A32_D192_ED03),
        ]
        .map(|hash| {
            let set = (u128::from(hash) * self.sets as u128) >> 64;
            usize::try_from(set).expect("below the number of sets") * WAYS
        })
    }

    #[inline]
    fn tags(&self, set: usize) -> &[AtomicU64; WAYS] {
        let tags = self.words[set..].first_chunk();
        tags.expect("all tags of a set")
    }

    /// A bit for each way of `set` whose tag is `wanted`.
    #[inline]
    fn ways(&self, set: usize, wanted: impl Fn(u64) -> bool) -> u32 {
        // All of them, without a branch that depends on where it is.
        let tags = self.tags(set).iter().enumerate();
        tags.fold(0, |found, (way, tag)| {
            found | u32::from(wanted(tag.load(Ordering::Acquire))) << way
        })
    }

    #[inline]
    fn first_word(&self, way: Way) -> usize {
        self.sets * WAYS + way.0 * self.row_words
    }

    /// Hints that the tags of `row` are looked at soon.
    #[inline]
    pub(crate) fn prefetch(&self, row: RowId) {
        for set in self.sets(row) {
            self.words.prefetch(set, WAYS);
        }
    }

    /// Where `row` seems to lie.
    #[inline]
    pub(crate) fn find(&self, row: RowId) -> Option<Way> {
        self.sets(row).into_iter().find_map(|set| {
            let found = self.ways(set, |tag| tag & KEY == row.0 + 1);
            (found != 0).then(|| Way(set + found.trailing_zeros() as usize))
        })
    }

    /// Hints that the row at `way` is copied soon.
    #[inline]
    pub(crate) fn prefetch_row(&self, way: Way) {
        self.words.prefetch(self.first_word(way), self.row_words);
    }

    /// Copies what lies at `way` to `out` and returns its seal, both to be [confirmed](Self::confirm).
    #[inline]
    pub(crate) fn copy(&self, way: Way, out: &mut [u8]) -> u64 {
        let first = self.first_word(way);
        let words = &self.words[first..first + self.row_words];
        let (stored, words) = words.split_last().expect("a row has words");
        let (whole, rest) = out.as_chunks_mut();
        let (words, last) = words.split_at(whole.len());
        for (bytes, word) in whole.iter_mut().zip(words) {
            *bytes = word.load(Ordering::Relaxed).to_le_bytes();
        }
        if let [last] = last {
            let word = last.load(Ordering::Relaxed).to_le_bytes();
            rest.copy_from_slice(&word[..rest.len()]);
        }
        stored.load(Ordering::Relaxed)
    }

    /// Whether the `bytes` and the seal that were copied from `way` are those of `row`, which then gains
    /// credit.
    #[inline]
    pub(crate) fn confirm(&self, row: RowId, way: Way, bytes: &[u8], stored: u64) -> bool {
        let tag = &self.words[way.0];
        let now = tag.load(Ordering::Relaxed);
        if seal(self.layer, row, bytes) != stored {
            // Half written, or damaged: the tag must go, or the row could never be taken in again.
            if now & KEY == row.0 + 1 {
                let _ = tag.compare_exchange(now, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
            return false;
        }
        // Most hits find a row that has full credit, and leave its tag's cache line alone.
        if now & KEY == row.0 + 1 && now >> KEY_BITS < MAX_CREDIT {
            // Another thread may have changed it since: then it keeps what that one stored.
            let _ = tag.compare_exchange_weak(
                now,
                now + ONE_CREDIT,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
        true
    }

    /// Takes `row` in with some credit, in the place of a row of its sets that has none. If `seal` is not
    /// that of `bytes`, the row will never be a hit.
    ///
    /// # Panics
    /// If `bytes` is not a row.
    pub(crate) fn insert(&self, row: RowId, credit: u64, bytes: &[u8], seal: u64) {
        if self.find(row).is_none() {
            let way = self.empty(row).unwrap_or_else(|| self.victim(row));
            self.put(way, row, credit, bytes, seal);
        }
    }

    /// Whether `row` seems to be there.
    pub(crate) fn contains(&self, row: RowId) -> bool {
        self.find(row).is_some()
    }

    /// Whether `row` is not there and would replace no other.
    pub(crate) fn has_room(&self, row: RowId) -> bool {
        self.find(row).is_none() && self.empty(row).is_some()
    }

    /// As [`Self::insert`], where that drives out no other row.
    pub(crate) fn insert_if_room(&self, row: RowId, credit: u64, bytes: &[u8], seal: u64) {
        if self.find(row).is_none()
            && let Some(way) = self.empty(row)
        {
            self.put(way, row, credit, bytes, seal);
        }
    }

    fn put(&self, way: Way, row: RowId, credit: u64, bytes: &[u8], seal: u64) {
        assert_eq!(bytes.len(), self.row_bytes, "a whole row");
        let tag = &self.words[way.0];
        tag.store(0, Ordering::Relaxed);
        // The empty tag is seen before any of the new words.
        fence(Ordering::Release);
        let first = self.first_word(way);
        let words = &self.words[first..first + self.row_words];
        let (stored, words) = words.split_last().expect("a row has words");
        for (bytes, word) in bytes.chunks(WORD_BYTES).zip(words) {
            let mut padded = [0; WORD_BYTES];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(padded), Ordering::Relaxed);
        }
        stored.store(seal, Ordering::Relaxed);
        tag.store(
            (row.0 + 1) | credit.min(MAX_CREDIT) << KEY_BITS,
            Ordering::Release,
        );
    }

    /// An empty way of the set that has more of them.
    fn empty(&self, row: RowId) -> Option<Way> {
        let sets = self.sets(row);
        let [first, second] = sets.map(|set| self.ways(set, |tag| tag == 0));
        let (set, empty) = if first.count_ones() >= second.count_ones() {
            (sets[0], first)
        } else {
            (sets[1], second)
        };
        (empty != 0).then(|| Way(set + empty.trailing_zeros() as usize))
    }

    /// A way whose row has no credit, by the hand of CLOCK.
    fn victim(&self, row: RowId) -> Way {
        let sets = self.sets(row);
        // From a way that the row picks: else the first ways would be replaced far more often.
        let start = u32::try_from(row.0 % WAYS as u64).expect("below the ways");
        for _ in 0..MAX_CREDIT {
            for set in sets {
                let uncredited = self.ways(set, |tag| tag < ONE_CREDIT);
                if uncredited != 0 {
                    let turned = uncredited | uncredited << WAYS;
                    let way = (turned >> start).trailing_zeros() + start;
                    return Way(set + way as usize % WAYS);
                }
            }
            for tag in self.tags(sets[0]) {
                let now = tag.load(Ordering::Relaxed);
                if now >= ONE_CREDIT {
                    let _ = tag.compare_exchange(
                        now,
                        now - ONE_CREDIT,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                }
            }
        }
        Way(sets[0] + start as usize)
    }
}

#[cfg(test)]
mod tests;
