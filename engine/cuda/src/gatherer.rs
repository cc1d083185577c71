//! The zero-copy gather: a kernel that is given row ids and finds the rows by itself.

use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering};

use engram::{HEADER_BYTES, RowId, ValueType};

use crate::{
    device::Device,
    error::DeviceError,
    hot_rows::HotRows,
    keep_alive::Used,
    kernels::{Codec, Gather, Kernel, check_max_rows},
    mapped_columns::MappedColumns,
    memory::{DeviceMemory, PinnedMemory},
    owner::Owner,
    stream::Stream,
};

/// Gathers rows of a layer whose columns are all mapped: hot ones from device memory, the others over the bus.
///
/// One pass at a time. The values are at a fixed address and belong to the stream that was used last.
#[derive(Debug)]
pub struct Gatherer {
    max_rows: usize,
    kernel_codec: Codec,
    value_type: ValueType,
    /// Values per thread.
    step: u32,
    /// Passes that were put in streams.
    passes: u64,
    /// Whether a pass was put in a stream half-way, so that nobody knows when the device has read its row ids.
    has_ended: bool,
    memory: Arc<Memory>,
}

/// Memory that streams use.
#[derive(Debug)]
struct Memory {
    mapped: Arc<MappedColumns>,
    hot: Option<Arc<HotRows>>,
    row_ids: Mutex<PinnedMemory>,
    device_row_ids: DeviceMemory,
    /// The number of the last pass whose row ids the device has read.
    copied: PinnedMemory,
    values: DeviceMemory,
}

impl Gatherer {
    /// For passes of up to `max_rows` rows.
    ///
    /// # Errors
    /// `max_rows` of 0 or more than a kernel can take, columns of the layer that are not mapped, hot rows of another
    /// layer, store or device, or no memory.
    pub fn new(
        device: &Device,
        mapped: Arc<MappedColumns>,
        hot: Option<Arc<HotRows>>,
        max_rows: usize,
        value_type: ValueType,
    ) -> Result<Self, DeviceError> {
        let layer = mapped.layer();
        let codec = mapped.store().codec(layer)?;
        if !mapped.is_complete() {
            return Err(DeviceError::NotAllMapped {
                layer,
                found: mapped.column_count(),
                expected: mapped.table_columns() as usize,
            });
        }
        let owner = Owner::new(device, mapped.store(), layer);
        mapped.owner().check("mapped columns", &owner)?;
        if let Some(hot) = &hot {
            hot.owner().check("hot rows", &owner)?;
        }
        let step = mapped.values_per_thread()?;
        check_max_rows(max_rows, codec, step)?;
        let id_bytes = max_rows * size_of::<u64>();
        Ok(Self {
            max_rows,
            kernel_codec: codec.into(),
            value_type,
            step,
            passes: 0,
            has_ended: false,
            memory: Arc::new(Memory {
                row_ids: Mutex::new(device.pinned(id_bytes)?),
                device_row_ids: device.memory(id_bytes)?,
                copied: device.pinned(size_of::<u64>())?,
                values: device.memory(max_rows * codec.width() * value_type.bytes())?,
                mapped,
                hot,
            }),
        })
    }

    /// The device address of the values, `[row][width]`, a multiple of 256.
    pub fn address(&self) -> u64 {
        self.memory.values.address()
    }

    /// Puts a pass that gathers `row_ids` in `stream`, in the order given. False if the device has not read the row ids
    /// of the pass before; try again later.
    ///
    /// # Errors
    /// A row that is not there, more rows than this was made for, a stream of another device or one that is being
    /// captured, a driver that refuses, now or in an earlier pass.
    pub fn gather_on(&mut self, stream: &Stream, row_ids: &[RowId]) -> Result<bool, DeviceError> {
        let memory = &self.memory;
        if row_ids.len() > self.max_rows {
            return Err(DeviceError::TooManyRows {
                found: row_ids.len(),
                max: self.max_rows,
            });
        }
        let mapped = &memory.mapped;
        mapped.owner().check_rows(row_ids)?;
        stream.check(&mapped.owner().device)?;
        stream.check_not_captured()?;
        if self.has_ended {
            let layer = mapped.layer();
            return Err(DeviceError::Ended { layer });
        }
        if memory.copied.word(0).load(Ordering::Acquire) != self.passes {
            return Ok(false);
        }
        let mut pinned_ids = memory
            .row_ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (id, row) in pinned_ids.as_mut_words().iter_mut().zip(row_ids) {
            *id = row.0;
        }
        let codec = mapped.store().codec(mapped.layer())?;
        let call = self.call(row_ids.len());
        let (from, to) = (pinned_ids.address(), memory.device_row_ids.address());
        let (number, bytes) = (self.passes + 1, size_of_val(row_ids));
        // SAFETY: the stream keeps all memory. Nobody writes the ids until `copied` has this pass's number, and never
        // if a call fails; the rest is used by streams alone, whose order is the caller's, and only bytes can come out
        // wrong.
        let put = stream.put([memory.clone() as Used], || unsafe {
            stream.copy(from, to, bytes)?;
            stream.write(&memory.copied, 0, number)?;
            stream.launch(&Kernel::Gather(call, codec, self.value_type))
        });
        drop(pinned_ids);
        self.passes = number;
        self.has_ended = put.is_err();
        put.map(|()| true)
    }

    fn call(&self, rows: usize) -> Gather {
        let memory = &*self.memory;
        let (mapped, hot) = (&memory.mapped, memory.hot.as_ref());
        let layout = mapped.layout();
        let narrow = |size: usize| u32::try_from(size).expect("records are far smaller");
        Gather {
            ids: memory.device_row_ids.address(),
            columns: mapped.columns_address(),
            hot_entries: hot.map_or(0, |hot| hot.entries_address()),
            hot_rows: hot.map_or(0, |hot| hot.rows_address()),
            out: memory.values.address(),
            rows: narrow(rows),
            step: self.step,
            column_count: mapped.table_columns(),
            hot_mask: hot.map_or(0, |hot| hot.mask()),
            hot_stride: hot.map_or(0, |hot| narrow(hot.stride())),
            header_bytes: narrow(HEADER_BYTES),
            group_records: narrow(layout.group_records()),
            group_bytes: narrow(layout.group_bytes()),
            stride: narrow(layout.stride()),
            codec: self.kernel_codec,
        }
    }

    /// As [`Self::gather_on`], then copies the values to the host, little-endian.
    ///
    /// # Errors
    /// As there, and where the pass before is in another stream and has not begun.
    pub fn read_on(&mut self, stream: &Stream, row_ids: &[RowId]) -> Result<Vec<u8>, DeviceError> {
        stream.synchronize()?;
        if !self.gather_on(stream, row_ids)? {
            return Err(DeviceError::GathererBusy);
        }
        let mapped = &self.memory.mapped;
        let codec = mapped.store().codec(mapped.layer())?;
        let bytes = row_ids.len() * codec.width() * self.value_type.bytes();
        let pinned = Arc::new(stream.device().pinned(bytes.max(1))?);
        let used = [self.memory.clone() as Used, pinned.clone()];
        // SAFETY: the stream keeps both.
        stream.put(used, || unsafe {
            stream.copy(self.address(), pinned.address(), bytes)
        })?;
        stream.take(&pinned, bytes)
    }
}

#[cfg(test)]
mod tests {
    use engram::{Config, Reader, Store};

    use engram::LayerId;

    use super::*;

    #[test]
    fn a_pass_that_is_half_in_the_stream_ends_the_gatherer() {
        let pack = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../format-spec/vectors/demo"
        );
        let store = Store::open(pack, Config::new().reader(Reader::Memory));
        let (device, faulty) = Device::faulty();
        let mapped =
            MappedColumns::register(&device, &Arc::new(store.unwrap()), LayerId(1)).unwrap();
        let stream = device.stream(0).unwrap();
        for call in ["write", "launch"] {
            let gatherer = Gatherer::new(&device, mapped.clone(), None, 2, ValueType::F32);
            let mut gatherer = gatherer.unwrap();
            faulty.fail(Some(call));
            gatherer.gather_on(&stream, &[RowId(3)]).unwrap_err();
            faulty.fail(None);
            let refused = gatherer.gather_on(&stream, &[RowId(3)]).unwrap_err();
            assert!(matches!(refused, DeviceError::Ended { layer: LayerId(1) }));
        }
    }
}
