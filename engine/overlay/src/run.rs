//! Entries that were made together, as an immutable hash table.

use bytemuck::{Pod, Zeroable};
use engram_io::prefetch;

/// Slots for each entry, at least.
const SLOTS_PER_ENTRY: usize = 2;

/// Entries of one kind, of keys and values of one size. Never changes once it is made.
#[derive(Debug)]
pub(crate) struct Run {
    shape: EntryShape,
    slots: Box<[Slot]>,
    shift: u32,
    /// `[entry][word]`.
    keys: Vec<u32>,
    /// `[entry][byte]`; whatever for an entry that takes another away.
    values: Vec<u8>,
    len: usize,
}

/// Sizes of the entries of one kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryShape {
    pub(crate) key_words: usize,
    pub(crate) value_bytes: usize,
    /// Whether no two keys have the same hash, so that keys need not be compared.
    pub(crate) hashes_differ: bool,
}

/// A place of the hash table.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
struct Slot {
    hash: u64,
    /// The entry's index and one more, so that an empty slot is zero; shifted left by one for [`REMOVED`].
    entry: u64,
}

/// Marks an entry that takes away those of its key in older runs.
const REMOVED: u64 = 1;

/// What a run knows of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// Its rows.
    Rows(&'a [u8]),
    /// It has been taken away.
    Removed,
}

impl Run {
    /// A run with room for `entries` entries.
    pub(crate) fn new(shape: EntryShape, entries: usize) -> Self {
        let slots = (entries * SLOTS_PER_ENTRY)
            .max(SLOTS_PER_ENTRY)
            .next_power_of_two();
        Self {
            shape,
            slots: vec![Slot::default(); slots].into(),
            shift: 64 - slots.ilog2(),
            keys: Vec::with_capacity(entries * shape.key_words),
            values: Vec::with_capacity(entries * shape.value_bytes),
            len: 0,
        }
    }

    /// Adds an entry, which takes the place of one of the same key.
    ///
    /// # Panics
    /// If there is no room, or the key or value is of another size.
    pub(crate) fn insert(&mut self, hash: u64, key: &[u32], value: Option<&[u8]>) {
        assert_eq!(key.len(), self.shape.key_words, "a key of the run's size");
        let place = self.place(hash, key);
        let known = self.slots[place].entry;
        let entry = if known == 0 {
            let room = self.slots.len() / SLOTS_PER_ENTRY;
            assert!(self.len < room, "room for an entry");
            self.keys.extend_from_slice(key);
            let values = self.values.len() + self.shape.value_bytes;
            self.values.resize(values, 0);
            self.len += 1;
            self.len as u64
        } else {
            known >> 1
        };
        self.slots[place] = Slot {
            hash,
            entry: (entry << 1) | (u64::from(value.is_none()) * REMOVED),
        };
        if let Some(value) = value {
            let bytes = self.shape.value_bytes;
            self.values[index(entry << 1) * bytes..][..bytes].copy_from_slice(value);
        }
    }

    /// Where the key is, or would be.
    #[inline]
    fn place(&self, hash: u64, key: &[u32]) -> usize {
        let mut place = self.home(hash);
        loop {
            let slot = &self.slots[place];
            if slot.entry == 0 {
                return place;
            }
            let is_equal = || self.shape.hashes_differ || self.key(index(slot.entry)) == key;
            if slot.hash == hash && is_equal() {
                return place;
            }
            place = (place + 1) & (self.slots.len() - 1);
        }
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        usize::try_from(hash >> self.shift).expect("an index fits")
    }

    fn key(&self, entry: usize) -> &[u32] {
        &self.keys[entry * self.shape.key_words..][..self.shape.key_words]
    }

    fn value(&self, entry: usize) -> &[u8] {
        &self.values[entry * self.shape.value_bytes..][..self.shape.value_bytes]
    }

    /// Begins to load what [`Self::find`] of a key with that hash looks at first.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        prefetch(bytemuck::bytes_of(&self.slots[self.home(hash)]));
    }

    /// What it knows of a key; none if nothing.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &[u32]) -> Option<Found<'_>> {
        let slot = &self.slots[self.place(hash, key)];
        match slot.entry {
            0 => None,
            entry if entry & REMOVED != 0 => Some(Found::Removed),
            entry => Some(Found::Rows(self.value(index(entry)))),
        }
    }

    /// Entries, and those that take others away.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Every entry, in no order: hash, key, and rows unless it takes others away.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &[u32], Option<&[u8]>)> {
        let slots = self.slots.iter().filter(|slot| slot.entry != 0);
        slots.map(|slot| {
            let entry = index(slot.entry);
            let rows = (slot.entry & REMOVED == 0).then(|| self.value(entry));
            (slot.hash, self.key(entry), rows)
        })
    }

    /// Memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.slots) + size_of_val(&*self.keys) + self.values.len()
    }
}

/// The index of a slot's entry, which is not empty.
#[inline]
fn index(entry: u64) -> usize {
    usize::try_from((entry >> 1) - 1).expect("it is in memory")
}
