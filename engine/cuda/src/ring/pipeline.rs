//! A layer's stream and the slots that it fills.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use engram::{LayerId, RowCodec, Store, ValueType};

use super::{
    config::RingConfig,
    pass_slot::{COPIED, FETCHED, MADE, OWNER, PassSlot},
    sources::Sources,
};
use crate::{
    device::Device,
    driver::Timing,
    error::DeviceError,
    kernels::{Codec, Decode, Kernel, check_max_rows, values_per_thread},
    stream::Stream,
};

/// Time between looks at a stream that is being drained.
const POLL: Duration = Duration::from_micros(50);

/// A layer's stream, its slots, and the sources of its rows. Whoever has a pass or an output slot, and each stream and
/// graph that waits for one, keeps this.
#[derive(Debug)]
pub(super) struct LayerPipeline {
    layer: LayerId,
    codec: RowCodec,
    /// The same as kernels know it.
    kernel_codec: Codec,
    value_type: ValueType,
    max_rows: usize,
    /// Values per thread.
    step: u32,
    stream: Stream,
    slots: Vec<PassSlot>,
    sources: Sources,
    /// Whether the driver has refused a call half-way through a pass, or a thread has panicked.
    has_ended: AtomicBool,
}

impl LayerPipeline {
    pub(super) fn new(
        device: &Device,
        store: &Arc<Store>,
        layer: LayerId,
        rank: usize,
        config: &RingConfig,
    ) -> Result<Self, DeviceError> {
        let (codec, value_type) = (store.codec(layer)?, config.value_type);
        let (row_bytes, value_bytes) = (codec.row_bytes(), codec.width() * value_type.bytes());
        let sources = Sources::new(config, layer);
        let mut step = values_per_thread(codec, row_bytes);
        if let Some(mapped) = &sources.mapped {
            step = step.min(mapped.values_per_thread()?);
        }
        check_max_rows(config.max_rows, codec, step)?;
        let slot = |_| {
            PassSlot::new(
                device,
                config.max_rows,
                row_bytes,
                value_bytes,
                config.is_timed,
            )
        };
        Ok(Self {
            layer,
            codec,
            kernel_codec: codec.into(),
            value_type,
            max_rows: config.max_rows,
            step,
            stream: device.stream(rank)?,
            slots: (0..config.depth).map(slot).collect::<Result<_, _>>()?,
            sources,
            has_ended: AtomicBool::new(false),
        })
    }

    pub(super) fn layer(&self) -> LayerId {
        self.layer
    }

    pub(super) fn codec(&self) -> RowCodec {
        self.codec
    }

    pub(super) fn value_type(&self) -> ValueType {
        self.value_type
    }

    pub(super) fn max_rows(&self) -> usize {
        self.max_rows
    }

    pub(super) fn device(&self) -> &Device {
        self.stream.device()
    }

    pub(super) fn slots(&self) -> &[PassSlot] {
        &self.slots
    }

    pub(super) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Takes no more passes from now on.
    pub(super) fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    /// Refuses passes of a layer that takes none any more.
    pub(super) fn check_not_ended(&self) -> Result<(), DeviceError> {
        if self.has_ended.load(Ordering::Acquire) {
            return Err(self.ended());
        }
        Ok(())
    }

    pub(super) fn ended(&self) -> DeviceError {
        DeviceError::Ended { layer: self.layer }
    }

    /// Puts a pass of `row_count` rows in the stream, `staged_bytes` bytes of them through the staging buffer. The
    /// stream waits by itself until they are there.
    pub(super) fn enqueue(
        &self,
        slot_index: usize,
        number: u64,
        row_count: usize,
        staged_bytes: usize,
    ) -> Result<(), DeviceError> {
        let (slot, stream) = (&self.slots[slot_index], &self.stream);
        let address_bytes = row_count * size_of::<u64>();
        let addresses = slot.addresses().address();
        let decode = Decode {
            addresses: slot.device_addresses.address(),
            out: slot.values.address(),
            rows: u32::try_from(row_count).expect("a pass has fewer than 2^32 rows"),
            step: self.step,
            codec: self.kernel_codec,
        };
        let decode = Kernel::Decode(decode, self.codec, self.value_type);
        let time = |which: usize| match &slot.times {
            Some(times) => stream.record(&times[which]),
            None => Ok(()),
        };
        // SAFETY: the slot lives until the stream has done its work. Nobody writes pinned memory from FETCHED until
        // COPIED has this pass's number; the device's rows and addresses are used by this stream alone, in order; the
        // values are the stream's while OWNER is zero. The sources are dropped after the stream.
        unsafe {
            stream.wait_for(&slot.words, FETCHED, number)?;
            time(0)?;
            stream.copy(slot.rows_address, slot.device_rows.address(), staged_bytes)?;
            stream.copy(addresses, slot.device_addresses.address(), address_bytes)?;
            stream.write(&slot.words, COPIED, number)?;
            stream.wait_for(&slot.words, OWNER, 0)?;
            stream.launch(&decode)?;
            time(1)?;
            // In this order: who sees MADE may release the output at once.
            stream.write(&slot.words, OWNER, 1)?;
            stream.write(&slot.words, MADE, number)
        }
    }

    /// Frees the slot of the pass `number`, which is in the stream and which nobody consumes: the stream decodes it
    /// all the same, and releases the output after that.
    pub(super) fn drop_pass(&self, slot_index: usize, number: u64) {
        let slot = &self.slots[slot_index];
        // SAFETY: the slot lives until the stream has done its work.
        let released = unsafe {
            let owner = self.stream.write(&slot.words, OWNER, 0);
            owner.and_then(|()| self.stream.write(&slot.words, COPIED, !number))
        };
        match released {
            Ok(()) => slot.drop_pass(number),
            Err(_) => self.end(),
        }
        slot.end_pass();
    }

    /// Waits for all passes. Nobody can release an output any more; so those that were not released, for want of a
    /// graph that was never launched or of a call that failed, are released here, or the passes behind them would wait
    /// for ever.
    fn drain(&self) -> Result<(), DeviceError> {
        let end = self.stream.event(Timing::Untimed)?;
        while !end.is_passed()? {
            self.slots.iter().for_each(PassSlot::release);
            thread::sleep(POLL);
        }
        self.stream.synchronize()
    }
}

impl Drop for LayerPipeline {
    fn drop(&mut self) {
        if self.drain().is_err() {
            // The device may still use this memory.
            mem::forget(mem::take(&mut self.slots));
            mem::forget(mem::take(&mut self.sources));
        }
    }
}
