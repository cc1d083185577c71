//! Rows that stay in device memory.

use std::sync::Arc;

use engram::{Batch, LayerId, RowId, Store};

use crate::{
    device::Device,
    error::DeviceError,
    memory::{DeviceMemory, PinnedMemory},
    owner::Owner,
    row_index::{self, INDEX_BITS, KEY_BITS},
};

/// Rows begin at multiples of so many bytes: threads read 8 at a time.
const ROW_ALIGN: usize = 8;
/// Rows copied at a time.
const CHUNK_ROWS: usize = 65_536;
/// Bytes of an entry of the table that finds rows. It has at least twice as many entries as rows.
const ENTRY_BYTES: usize = size_of::<u64>();

/// The hottest rows of a layer's table in device memory, found by kernels and by the host.
#[derive(Debug)]
pub struct HotRows {
    owner: Owner,
    row_count: usize,
    /// Bytes from one row to the next.
    stride: usize,
    rows: Arc<DeviceMemory>,
    /// The table that finds rows, on the device and here.
    device_entries: Arc<DeviceMemory>,
    entries: Vec<u64>,
}

impl HotRows {
    /// Loads rows of `layer`, the first of `wanted` first, until they and the table that finds them take `bytes` of
    /// `device`'s memory. Rows that are repeated are loaded once.
    ///
    /// # Errors
    /// A store whose rows change, no rows, a budget without room for a row, a layer or row that is not there, rows that
    /// cannot be read, no memory.
    pub fn load(
        device: &Device,
        store: &Arc<Store>,
        layer: LayerId,
        wanted: &[RowId],
        bytes: usize,
    ) -> Result<Arc<Self>, DeviceError> {
        let codec = store.codec(layer)?;
        let owner = Owner::new(device, store, layer);
        owner.check_rows(wanted)?;
        if store.rows_change() {
            return Err(DeviceError::RowsChange { layer });
        }
        if wanted.is_empty() {
            return Err(DeviceError::NoHotRows);
        }
        let stride = codec.row_bytes().next_multiple_of(ROW_ALIGN);
        let (room, entry_count) = plan(bytes, stride, wanted.len())?;
        let mut entries = vec![0; entry_count];
        let mut taken = Vec::with_capacity(room.min(wanted.len()));
        for &row in wanted {
            if taken.len() == room {
                break;
            }
            let limit = (1 << KEY_BITS) - 1;
            if row.0 >= limit {
                return Err(DeviceError::HotRowIdTooLarge { row, limit });
            }
            if row_index::find(&entries, row.0).is_none() {
                row_index::insert(&mut entries, row.0, taken.len() as u64);
                taken.push(row);
            }
        }
        let hot = Self {
            owner,
            row_count: taken.len(),
            stride,
            rows: Arc::new(device.memory(taken.len() * stride)?),
            device_entries: Arc::new(device.memory(entries.len() * ENTRY_BYTES)?),
            entries,
        };
        hot.fill(&taken)?;
        Ok(Arc::new(hot))
    }

    /// Copies the rows and the table to the device.
    fn fill(&self, taken: &[RowId]) -> Result<(), DeviceError> {
        let Owner {
            device,
            store,
            layer,
        } = &self.owner;
        let stream = device.stream(usize::MAX)?;
        let row_bytes = store.codec(*layer)?.row_bytes();
        let chunk = CHUNK_ROWS.min(taken.len());
        let pinned_bytes = (chunk * self.stride).max(self.entries.len() * ENTRY_BYTES);
        let mut pinned = Arc::new(device.pinned(pinned_bytes)?);
        let mut rows = vec![0; chunk * row_bytes];
        let mut offset = 0;
        for taken in taken.chunks(chunk) {
            let rows = &mut rows[..taken.len() * row_bytes];
            let batch = Batch::new(*layer, taken);
            store.lookup(batch, rows)?;
            let places = idle(&mut pinned).as_mut_slice();
            let places = places.chunks_exact_mut(self.stride);
            for (row, place) in rows.chunks_exact(row_bytes).zip(places) {
                place[..row_bytes].copy_from_slice(row);
            }
            let bytes = taken.len() * self.stride;
            stream.upload(&pinned, &self.rows, offset, bytes)?;
            offset += bytes;
        }
        idle(&mut pinned).as_mut_words()[..self.entries.len()].copy_from_slice(&self.entries);
        let bytes = self.entries.len() * ENTRY_BYTES;
        stream.upload(&pinned, &self.device_entries, 0, bytes)
    }

    /// The layer whose rows these are.
    pub fn layer(&self) -> LayerId {
        self.owner.layer
    }

    /// How many rows there are.
    pub fn row_count(&self) -> usize {
        self.row_count
    }

    /// Device memory that the rows and the table that finds them take, in bytes.
    pub fn bytes(&self) -> usize {
        self.rows.bytes() + self.device_entries.bytes()
    }

    /// Whether `row` is one of these rows.
    pub fn contains(&self, row: RowId) -> bool {
        row.0 < u64::MAX && self.address_of(row).is_some()
    }

    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The address of `row` on the device.
    #[inline]
    pub(crate) fn address_of(&self, row: RowId) -> Option<u64> {
        let index = row_index::find(&self.entries, row.0)?;
        Some(self.rows.address() + index * self.stride as u64)
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

/// The most rows of `stride` bytes that fit in `bytes` bytes of device memory with the table that finds them, and the
/// entries of that table, for up to `wanted` rows.
fn plan(bytes: usize, stride: usize, wanted: usize) -> Result<(usize, usize), DeviceError> {
    let mut entry_count = entries_for(wanted);
    let room = loop {
        let room = bytes.saturating_sub(entry_count * ENTRY_BYTES) / stride;
        // Twice as many entries as rows, or fewer rows than the budget has room for.
        if entries_for(room) >= entry_count || entry_count <= 2 {
            break room.min(entry_count / 2);
        }
        entry_count /= 2;
    };
    if room == 0 {
        let expected = stride + entries_for(1) * ENTRY_BYTES;
        return Err(DeviceError::SmallHotBudget {
            found: bytes,
            expected,
        });
    }
    let limit = 1 << INDEX_BITS;
    if room >= limit {
        return Err(DeviceError::TooManyHotRows { found: room, limit });
    }
    Ok((room, entry_count))
}

fn entries_for(rows: usize) -> usize {
    (2 * rows.max(1)).next_power_of_two()
}

/// Memory that no stream uses, to be written.
fn idle(pinned: &mut Arc<PinnedMemory>) -> &mut PinnedMemory {
    Arc::get_mut(pinned).expect("the stream has let go of it, for it has been synchronized")
}

#[cfg(test)]
mod tests {
    use engram::Config;

    use super::*;

    #[test]
    fn memory_that_the_device_may_use_is_leaked() {
        let pack = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../format-spec/vectors/demo"
        );
        let store = Arc::new(Store::open(pack, Config::new()).unwrap());
        let (device, faulty) = Device::faulty();
        faulty.fail(Some("synchronize"));
        HotRows::load(&device, &store, LayerId(1), &[RowId(3)], 1 << 10).unwrap_err();
        assert_eq!(faulty.allocations(), 2, "the rows on both sides");
    }
}
