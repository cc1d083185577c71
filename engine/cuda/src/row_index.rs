//! The hash table that finds rows in device memory, on the host and in kernels.
//!
//! Open addressing with linear probing in a power of two of entries. An entry has the row id plus one in its upper bits
//! and the row's index in device memory in its lower ones; zero is free.

/// Bits of an entry that hold the index of a row in device memory.
pub(crate) const INDEX_BITS: u32 = 28;

/// Bits of an entry that hold a row id plus one.
pub(crate) const KEY_BITS: u32 = u64::BITS - INDEX_BITS;

/// Fibonacci hashing (Knuth, The Art of Computer Programming, 6.4), as in the kernel.
#[inline]
pub(crate) fn hash(key: u64) -> usize {
    (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize
}

/// The index of the row `id` in device memory, by the kernel's search.
#[inline]
pub(crate) fn find(entries: &[u64], id: u64) -> Option<u64> {
    let mask = entries.len() - 1;
    let key = id + 1;
    let mut place = hash(key) & mask;
    loop {
        let entry = entries[place];
        if entry == 0 {
            return None;
        }
        if entry >> INDEX_BITS == key {
            return Some(entry & ((1 << INDEX_BITS) - 1));
        }
        place = (place + 1) & mask;
    }
}

/// Adds the row `id`, which is not in the table. A free entry is left.
pub(crate) fn insert(entries: &mut [u64], id: u64, index: u64) {
    let mask = entries.len() - 1;
    let key = id + 1;
    let mut place = hash(key) & mask;
    while entries[place] != 0 {
        place = (place + 1) & mask;
    }
    entries[place] = key << INDEX_BITS | index;
}
