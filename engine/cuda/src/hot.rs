//! Rows that stay in device memory.

use std::sync::Arc;

use engram::{Batch, LayerId, RowId, Store};

use crate::{
    device::{Device, DeviceMemory},
    error::{DeviceError, expect},
    kernels::PLACE_BITS,
    origin::Origin,
};

/// Bytes between the starts of rows: threads read 8 at a time.
const ROW_ALIGN: usize = 8;
/// Rows copied at a time.
const CHUNK_ROWS: usize = 65_536;
/// Bytes of an entry of the table that finds rows, of which there are at least twice as many as rows.
const ENTRY_BYTES: usize = size_of::<u64>();

/// The hottest rows of a layer's table in device memory, found by kernels and by the host.
#[derive(Debug)]
pub struct HotRows {
    origin: Origin,
    count: usize,
    stride: usize,
    rows: DeviceMemory,
    /// The table on the device, and here.
    device_entries: DeviceMemory,
    entries: Vec<u64>,
}

/// Fibonacci hashing (Knuth, The Art of Computer Programming, 6.4), as the kernel does it.
#[inline]
pub(crate) fn hash(key: u64) -> usize {
    (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize
}

/// The place of the row `id` by a table of a power of two of entries, as the kernel looks for it.
#[inline]
pub(crate) fn find(entries: &[u64], id: u64) -> Option<u64> {
    let mask = entries.len() - 1;
    let key = id + 1;
    let mut index = hash(key) & mask;
    loop {
        let entry = entries[index];
        if entry == 0 {
            return None;
        }
        if entry >> PLACE_BITS == key {
            return Some(entry & ((1 << PLACE_BITS) - 1));
        }
        index = (index + 1) & mask;
    }
}

impl HotRows {
    /// Loads rows of `layer`, the first of `wanted` first, until they and the table that finds them take `bytes` of
    /// `device`'s memory. Rows that come again are left out.
    ///
    /// # Errors
    /// A budget without room for a row, a layer or row that is not there, rows that cannot be read, no memory.
    pub fn load(
        device: &Device,
        store: &Arc<Store>,
        layer: LayerId,
        wanted: &[RowId],
        bytes: usize,
    ) -> Result<Arc<Self>, DeviceError> {
        let codec = store.codec(layer)?;
        let origin = Origin::new(device, store, layer);
        origin.check_rows(wanted)?;
        let stride = codec.row_bytes().next_multiple_of(ROW_ALIGN);
        let mut entry_count = entries_for(wanted.len());
        let room = loop {
            let room = bytes.saturating_sub(entry_count * ENTRY_BYTES) / stride;
            // Twice as many entries as rows, or fewer rows than the budget has room for.
            if entries_for(room) >= entry_count || entry_count <= 2 {
                break room.min(entry_count / 2);
            }
            entry_count /= 2;
        };
        expect(
            room > 0 && !wanted.is_empty(),
            "bytes for hot rows",
            bytes,
            format!("room for a row of {stride} and its entries"),
        )?;
        let limit = 1 << PLACE_BITS;
        expect(room < limit, "hot rows", room, format!("less than {limit}"))?;
        let mut entries = vec![0; entry_count];
        let mut taken = Vec::with_capacity(room.min(wanted.len()));
        for &row in wanted {
            if taken.len() == room {
                break;
            }
            let key = row.0 + 1;
            let fits = key >> (u64::BITS - PLACE_BITS) == 0;
            let id = usize::try_from(row.0).unwrap_or(usize::MAX);
            expect(fits, "a row id", id, "less than 2^36")?;
            if find(&entries, row.0).is_none() {
                insert(&mut entries, key, taken.len() as u64);
                taken.push(row);
            }
        }
        let hot = Self {
            origin,
            count: taken.len(),
            stride,
            rows: device.memory(taken.len() * stride)?,
            device_entries: device.memory(entries.len() * ENTRY_BYTES)?,
            entries,
        };
        hot.fill(&taken)?;
        Ok(Arc::new(hot))
    }

    /// Copies the rows and the table to the device.
    fn fill(&self, taken: &[RowId]) -> Result<(), DeviceError> {
        let Origin {
            device,
            store,
            layer,
        } = &self.origin;
        let stream = device.stream(usize::MAX)?;
        let row_bytes = store.codec(*layer)?.row_bytes();
        let chunk = CHUNK_ROWS.min(taken.len());
        let mut pinned =
            device.pinned((chunk * self.stride).max(self.entries.len() * ENTRY_BYTES))?;
        let mut rows = vec![0; chunk * row_bytes];
        let mut to = self.rows.address();
        for taken in taken.chunks(chunk) {
            let rows = &mut rows[..taken.len() * row_bytes];
            let batch = Batch::new(*layer, taken);
            store.lookup(batch, rows)?;
            // The stream is done with it: it was waited for.
            let places = pinned.as_mut_slice().chunks_exact_mut(self.stride);
            for (row, place) in rows.chunks_exact(row_bytes).zip(places) {
                place[..row_bytes].copy_from_slice(row);
            }
            let bytes = taken.len() * self.stride;
            // SAFETY: both live until the stream has been waited for, below, and nobody else has them.
            unsafe { stream.copy(pinned.address(), to, bytes) }?;
            stream.synchronize()?;
            to += bytes as u64;
        }
        pinned.as_mut_words()[..self.entries.len()].copy_from_slice(&self.entries);
        let bytes = self.entries.len() * ENTRY_BYTES;
        // SAFETY: as above.
        unsafe { stream.copy(pinned.address(), self.device_entries.address(), bytes) }?;
        stream.synchronize()
    }

    /// The layer whose rows these are.
    pub fn layer(&self) -> LayerId {
        self.origin.layer
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Device memory that they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.rows.bytes() + self.device_entries.bytes()
    }

    /// Whether `row` is one of them.
    pub fn holds(&self, row: RowId) -> bool {
        row.0 < u64::MAX && self.address_of(row).is_some()
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Where `row` lies on the device.
    #[inline]
    pub(crate) fn address_of(&self, row: RowId) -> Option<u64> {
        let place = find(&self.entries, row.0)?;
        Some(self.rows.address() + place * self.stride as u64)
    }

    pub(crate) fn entries_address(&self) -> u64 {
        self.device_entries.address()
    }

    pub(crate) fn rows_address(&self) -> u64 {
        self.rows.address()
    }

    pub(crate) fn mask(&self) -> u32 {
        u32::try_from(self.entries.len() - 1).expect("rows are fewer than 2^28")
    }

    pub(crate) fn stride(&self) -> usize {
        self.stride
    }
}

fn entries_for(rows: usize) -> usize {
    (2 * rows.max(1)).next_power_of_two()
}

pub(crate) fn insert(entries: &mut [u64], key: u64, place: u64) {
    let mask = entries.len() - 1;
    let mut index = hash(key) & mask;
    while entries[index] != 0 {
        index = (index + 1) & mask;
    }
    entries[index] = key << PLACE_BITS | place;
}
