//! Resident columns that a device reads where they lie.

use std::sync::Arc;

use engram::{Column, HEADER_BYTES, LayerId, RecordLayout, RowId, Store};

use crate::{
    device::{Device, DeviceMemory},
    error::{DeviceError, expect},
    kernels::{MappedColumn, step},
    origin::Origin,
};

/// The resident columns of a layer's table, registered with a device, which reads their rows over the bus.
///
/// The device checks no seals; so all of them are checked once, when the columns are registered.
#[derive(Debug)]
pub struct MappedColumns {
    layout: RecordLayout,
    /// In order; address zero where a column is not resident.
    columns: Vec<(Column, MappedColumn)>,
    /// The same on the device.
    device_columns: DeviceMemory,
    registered: Vec<Registered>,
    /// Dropped after what is registered, whose memory its store has.
    origin: Origin,
}

/// Memory that a device can read until this is dropped.
#[derive(Debug)]
struct Registered {
    address: *const u8,
    device: Device,
}

// SAFETY: it only forgets the address, which any thread may do.
unsafe impl Send for Registered {}
// SAFETY: nothing is done through a shared reference.
unsafe impl Sync for Registered {}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: registered when this was made; streams keep the columns that their work reads.
        unsafe { self.device.driver().forget(self.address) };
    }
}

impl MappedColumns {
    /// Registers the columns of `layer` that `store` has in memory, loaded for this process or shared, whose pages then
    /// stay where they are.
    ///
    /// # Errors
    /// A layer without a table or without a resident column, a damaged record, columns of 2^32 rows or more, or a driver
    /// that refuses: for want of memory that may be locked, since they are registered already, or, on some machines, since
    /// they are shared and so mapped to be read alone.
    pub fn register(
        device: &Device,
        store: &Arc<Store>,
        layer: LayerId,
    ) -> Result<Arc<Self>, DeviceError> {
        let (layout, resident) = store.resident_columns(layer)?;
        let loaded = resident.len();
        expect(
            loaded > 0,
            "resident columns",
            loaded,
            "1 or more: see `Config::resident`",
        )?;
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
        let mut registered = Vec::with_capacity(loaded);
        for from in resident {
            let rows = usize::try_from(from.column.row_count).unwrap_or(usize::MAX);
            expect(
                u32::try_from(rows).is_ok(),
                "rows of a column",
                rows,
                "less than 2^32",
            )?;
            // SAFETY: the store is held as long as the memory is registered, and keeps it mapped.
            let address = unsafe {
                device
                    .driver()
                    .register(from.address, from.bytes, from.is_private)
            }?;
            registered.push(Registered {
                address: from.address,
                device: device.clone(),
            });
            columns[from.column.index as usize].1.address = address;
        }
        let device_columns = upload(device, &columns)?;
        Ok(Arc::new(Self {
            layout,
            columns,
            device_columns,
            registered,
            origin: Origin::new(device, store, layer),
        }))
    }

    /// The layer whose columns these are.
    pub fn layer(&self) -> LayerId {
        self.origin.layer
    }

    /// How many columns are mapped.
    pub fn count(&self) -> usize {
        self.registered.len()
    }

    /// The store that has them.
    pub fn store(&self) -> &Arc<Store> {
        &self.origin.store
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether all columns of the table are mapped.
    pub fn are_all(&self) -> bool {
        self.count() == self.columns.len()
    }

    /// Where the device reads `row`, which is one of the table; none, if its column is not mapped.
    #[inline]
    pub(crate) fn address_of(&self, row: RowId) -> Option<u64> {
        let next = self
            .columns
            .partition_point(|(column, _)| column.first_row <= row.0);
        let (column, mapped) = &self.columns[next - 1];
        let offset = || self.layout.record_offset(row.0 - column.first_row);
        (mapped.address != 0).then(|| mapped.address + offset())
    }

    /// Values that a thread can make at a time.
    pub(crate) fn step(&self) -> Result<u32, DeviceError> {
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
        Ok(step(self.store().codec(self.layer())?, align))
    }

    pub(crate) fn layout(&self) -> &RecordLayout {
        &self.layout
    }

    pub(crate) fn columns_address(&self) -> u64 {
        self.device_columns.address()
    }

    pub(crate) fn column_count(&self) -> u32 {
        u32::try_from(self.columns.len()).expect("columns are few")
    }
}

/// The columns in device memory.
fn upload(
    device: &Device,
    columns: &[(Column, MappedColumn)],
) -> Result<DeviceMemory, DeviceError> {
    let bytes = columns.len() * size_of::<MappedColumn>();
    let (mut pinned, memory) = (device.pinned(bytes)?, device.memory(bytes)?);
    let words = pinned.as_mut_words().as_chunks_mut::<2>().0;
    for (words, (_, column)) in words.iter_mut().zip(columns) {
        *words = [column.first_row, column.address];
    }
    let stream = device.stream(usize::MAX)?;
    // SAFETY: both live until the stream has been waited for, and nobody else has them.
    unsafe { stream.copy(pinned.address(), memory.address(), bytes) }?;
    stream.synchronize()?;
    Ok(memory)
}
