//! Resident columns that a device reads in host memory.

use std::sync::Arc;

use engram::{Column, HEADER_BYTES, LayerId, RecordLayout, RowId, Store};

use crate::{
    device::Device,
    error::DeviceError,
    kernels::{MappedColumn, values_per_thread},
    memory::DeviceMemory,
    owner::Owner,
};

/// The resident columns of a layer's table, registered with a device, which reads their rows over the bus.
///
/// The device does not check seals, so all of them are checked once, when the columns are registered.
#[derive(Debug)]
pub struct MappedColumns {
    layout: RecordLayout,
    /// In order; address zero where a column is not resident.
    columns: Vec<(Column, MappedColumn)>,
    /// The same on the device.
    device_columns: Arc<DeviceMemory>,
    registered: Vec<Registered>,
    /// Dropped after `registered`, whose memory belongs to its store.
    owner: Owner,
}

/// Memory that a device can read until this is dropped.
#[derive(Debug)]
struct Registered {
    address: *const u8,
    device: Device,
}

// SAFETY: the address is only unregistered, which any thread may do.
unsafe impl Send for Registered {}
// SAFETY: nothing is done through a shared reference.
unsafe impl Sync for Registered {}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: registered when this was made; streams keep the columns that their work reads.
        unsafe { self.device.driver().unregister(self.address) };
    }
}

impl MappedColumns {
    /// Registers the columns of `layer` that `store` has in memory, loaded for this process or shared. Their pages then
    /// stay in memory.
    ///
    /// # Errors
    /// A layer without a table or without a resident column, a damaged record, columns of 2^32 rows or more, or a
    /// driver that refuses: for want of memory that may be locked, because they are registered already, or, on some
    /// machines, because they are shared and therefore mapped read-only.
    pub fn register(
        device: &Device,
        store: &Arc<Store>,
        layer: LayerId,
    ) -> Result<Arc<Self>, DeviceError> {
        let (layout, resident) = store.resident_columns(layer)?;
        if resident.is_empty() {
            return Err(DeviceError::NoResidentColumns { layer });
        }
        store.check_resident(layer)?;
        let mut columns: Vec<(Column, MappedColumn)> = store
            .columns(layer)?
            .iter()
            .map(|&column| {
                let mapped = MappedColumn {
                    first_row: column.first_row,
                    address: 0,
                };
                (column, mapped)
            })
            .collect();
        let mut registered = Vec::with_capacity(resident.len());
        for resident in resident {
            let column = resident.column;
            if u32::try_from(column.row_count).is_err() {
                return Err(DeviceError::ColumnTooLong {
                    layer,
                    column: column.index,
                    found: column.row_count,
                    limit: 1 << u32::BITS,
                });
            }
            let (host, bytes) = (resident.address, resident.bytes);
            // SAFETY: the store lives as long as the memory is registered, and keeps it mapped.
            let address = unsafe { device.driver().register(host, bytes, resident.is_private) }?;
            registered.push(Registered {
                address: host,
                device: device.clone(),
            });
            let first = columns[0].0.index;
            columns[(column.index - first) as usize].1.address = address;
        }
        let device_columns = upload(device, &columns)?;
        Ok(Arc::new(Self {
            layout,
            columns,
            device_columns,
            registered,
            owner: Owner::new(device, store, layer),
        }))
    }

    /// The layer whose columns these are.
    pub fn layer(&self) -> LayerId {
        self.owner.layer
    }

    /// How many columns are mapped.
    pub fn column_count(&self) -> usize {
        self.registered.len()
    }

    /// The store that has them.
    pub fn store(&self) -> &Arc<Store> {
        &self.owner.store
    }

    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Whether all columns of the table are mapped.
    pub fn is_complete(&self) -> bool {
        self.registered.len() == self.columns.len()
    }

    /// The address at which the device reads `row`, which is a row of an open column. None if that is not mapped.
    #[inline]
    pub(crate) fn address_of(&self, row: RowId) -> Option<u64> {
        let next = self
            .columns
            .partition_point(|(column, _)| column.first_row <= row.0);
        let (column, mapped) = &self.columns[next - 1];
        let offset = || self.layout.record_offset(row.0 - column.first_row);
        (mapped.address != 0).then(|| mapped.address + offset())
    }

    /// Values that a thread can decode at a time.
    pub(crate) fn values_per_thread(&self) -> Result<u32, DeviceError> {
        let align = HEADER_BYTES | self.layout.stride() | self.layout.group_bytes();
        let aligned = self
            .columns
            .iter()
            .all(|(_, mapped)| mapped.address.is_multiple_of(8));
        let align = if aligned {
            1 << align.trailing_zeros()
        } else {
            1
        };
        Ok(values_per_thread(self.store().codec(self.layer())?, align))
    }

    pub(crate) fn layout(&self) -> &RecordLayout {
        &self.layout
    }

    pub(crate) fn columns_address(&self) -> u64 {
        self.device_columns.address()
    }

    /// Columns of the table, mapped or not.
    pub(crate) fn table_columns(&self) -> u32 {
        u32::try_from(self.columns.len()).expect("a table has far fewer columns")
    }
}

/// Copies the columns to device memory.
fn upload(
    device: &Device,
    columns: &[(Column, MappedColumn)],
) -> Result<Arc<DeviceMemory>, DeviceError> {
    let bytes = columns.len() * size_of::<MappedColumn>();
    let (mut pinned, memory) = (device.pinned(bytes)?, Arc::new(device.memory(bytes)?));
    let words = pinned.as_mut_words().as_chunks_mut::<2>().0;
    for (words, (_, column)) in words.iter_mut().zip(columns) {
        *words = [column.first_row, column.address];
    }
    let stream = device.stream(usize::MAX)?;
    stream.upload(&Arc::new(pinned), &memory, 0, bytes)?;
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use engram::{Config, Reader};

    use super::*;

    #[test]
    fn memory_that_the_device_may_use_is_leaked() {
        let pack = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../format-spec/vectors/demo"
        );
        let store = Store::open(pack, Config::new().reader(Reader::Memory));
        let (device, faulty) = Device::faulty();
        faulty.fail(Some("synchronize"));
        MappedColumns::register(&device, &Arc::new(store.unwrap()), LayerId(1)).unwrap_err();
        assert_eq!(faulty.allocations(), 2, "the columns on both sides");
    }
}
