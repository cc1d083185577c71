//! The zero-copy gather: a kernel that is given row ids and finds the rows by itself.

use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering};

use engram::{HEADER_BYTES, RowCodec, RowId};

use crate::{
    device::{Device, DeviceMemory, PinnedMemory, Stream},
    error::{DeviceError, expect},
    hot::HotRows,
    kernels::{Gather, Kernel, Output, check_threads},
    mapped::MappedColumns,
    origin::Origin,
};

/// Gathers rows of a layer whose columns are all mapped: those that are hot from device memory, the others over the bus.
///
/// One pass at a time; the values are at a fixed address and belong to the stream that was used last.
#[derive(Debug)]
pub struct Gatherer {
    rows: usize,
    output: Output,
    step: u32,
    passes: u64,
    memory: Arc<Memory>,
}

/// What streams use.
#[derive(Debug)]
struct Memory {
    mapped: Arc<MappedColumns>,
    hot: Option<Arc<HotRows>>,
    device_ids: DeviceMemory,
    output: DeviceMemory,
    /// Has the number of the last pass whose ids the device has read.
    copied: PinnedMemory,
    ids: Mutex<PinnedMemory>,
}

impl Gatherer {
    /// For passes of up to `rows` rows.
    ///
    /// # Errors
    /// No rows, columns of the layer that are not mapped, hot rows of another layer, or no memory.
    pub fn new(
        device: &Device,
        mapped: Arc<MappedColumns>,
        hot: Option<Arc<HotRows>>,
        rows: usize,
        output: Output,
    ) -> Result<Self, DeviceError> {
        let codec = mapped.store().codec(mapped.layer())?;
        let columns = mapped.column_count() as usize;
        let count = mapped.count();
        expect(
            mapped.are_all(),
            "mapped columns",
            count,
            format!("all {columns} of the layer"),
        )?;
        let origin = Origin::new(device, mapped.store(), mapped.layer());
        mapped.origin().check("mapped columns", &origin)?;
        if let Some(hot) = &hot {
            hot.origin().check("hot rows", &origin)?;
        }
        let step = mapped.step()?;
        check_threads(rows, codec, step)?;
        let id_bytes = rows * size_of::<u64>();
        Ok(Self {
            rows,
            output,
            step,
            passes: 0,
            memory: Arc::new(Memory {
                device_ids: device.memory(id_bytes)?,
                output: device.memory(rows * codec.width() * output.bytes())?,
                copied: device.pinned(size_of::<u64>())?,
                ids: Mutex::new(device.pinned(id_bytes)?),
                mapped,
                hot,
            }),
        })
    }

    /// The device address of the values, `[row][width]`, a multiple of 256.
    pub fn address(&self) -> u64 {
        self.memory.output.address()
    }

    /// Puts the gathering of `rows` in `stream`; false, if the device has not read the row ids of the pass before.
    ///
    /// # Errors
    /// A row that is not there, more rows than this was made for, a stream of another device, a driver that refuses.
    pub fn gather_on(&mut self, stream: &Stream, rows: &[RowId]) -> Result<bool, DeviceError> {
        let (most, memory) = (self.rows, &self.memory);
        expect(
            rows.len() <= most,
            "rows of a pass",
            rows.len(),
            format!("at most {most}"),
        )?;
        let mapped = &memory.mapped;
        mapped.origin().check_rows(rows)?;
        stream.check(&mapped.origin().device)?;
        stream.check_not_captured()?;
        if memory.copied.word(0).load(Ordering::Acquire) != self.passes {
            return Ok(false);
        }
        let mut ids = memory.ids.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, row) in ids.as_mut_words().iter_mut().zip(rows) {
            *id = row.0;
        }
        let codec = mapped.store().codec(mapped.layer())?;
        let call = self.call(rows.len(), codec);
        stream.keep(memory.clone());
        // SAFETY: the stream keeps all memory. Nobody writes the ids until `copied` has this pass's number; the rest is
        // used by streams alone, whose order is the caller's, and only bytes can come out wrong.
        unsafe {
            let bytes = size_of_val(rows);
            stream.copy(ids.address(), memory.device_ids.address(), bytes)?;
            stream.write(&memory.copied, 0, self.passes + 1)?;
            stream.launch(&Kernel::Gather(call, codec, self.output))?;
        }
        self.passes += 1;
        Ok(true)
    }

    fn call(&self, rows: usize, codec: RowCodec) -> Gather {
        let Memory {
            mapped,
            hot,
            device_ids,
            output,
            ..
        } = &*self.memory;
        let hot = hot.as_ref();
        let layout = mapped.layout();
        let narrow = |size: usize| u32::try_from(size).expect("records are far smaller");
        Gather {
            ids: device_ids.address(),
            columns: mapped.columns_address(),
            hot_entries: hot.map_or(0, |hot| hot.entries_address()),
            hot_rows: hot.map_or(0, |hot| hot.rows_address()),
            out: output.address(),
            rows: narrow(rows),
            step: self.step,
            column_count: mapped.column_count(),
            hot_mask: hot.map_or(0, |hot| hot.mask()),
            hot_stride: hot.map_or(0, |hot| narrow(hot.stride())),
            header_bytes: narrow(HEADER_BYTES),
            group_records: narrow(layout.group_records()),
            group_bytes: narrow(layout.group_bytes()),
            stride: narrow(layout.stride()),
            codec: codec.into(),
        }
    }

    /// As [`Self::gather_on`], then copies the values to the host, little-endian.
    ///
    /// # Errors
    /// As there; also where the pass before is not done.
    pub fn read_on(&mut self, stream: &Stream, rows: &[RowId]) -> Result<Vec<u8>, DeviceError> {
        stream.synchronize()?;
        let done = self.gather_on(stream, rows)?;
        expect(done, "the pass before", 0, "done, in the same stream")?;
        let codec = self
            .memory
            .mapped
            .store()
            .codec(self.memory.mapped.layer())?;
        let bytes = rows.len() * codec.width() * self.output.bytes();
        let pinned = stream.device().pinned(bytes.max(1))?;
        // SAFETY: the stream keeps the output, and is waited for before the pinned memory is touched or dropped.
        let copied = unsafe { stream.copy(self.address(), pinned.address(), bytes) };
        stream.take(pinned, bytes, copied)
    }
}
