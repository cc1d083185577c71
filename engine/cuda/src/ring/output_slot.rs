//! The place where a consumer finds the values of passes.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, DevicePtrMut};
use engram::RowCodec;

use super::{
    pass_slot::{MADE, OWNER, PassSlot},
    pipeline::LayerPipeline,
};
use engram::ValueType;

use crate::{error::DeviceError, keep_alive::Used, memory::DeviceMemory, stream::Stream};

/// Where a consumer finds the values of all passes that use one slot of a layer: at a fixed address.
#[derive(Debug, Clone)]
pub struct OutputSlot {
    pipeline: Arc<LayerPipeline>,
    slot_index: usize,
}

impl OutputSlot {
    pub(super) fn new(pipeline: &Arc<LayerPipeline>, slot_index: usize) -> Self {
        Self {
            pipeline: pipeline.clone(),
            slot_index,
        }
    }

    fn pass_slot(&self) -> &PassSlot {
        &self.pipeline.slots()[self.slot_index]
    }

    /// The device address of the values, `[row][width]`, a multiple of 256.
    pub fn address(&self) -> u64 {
        self.pass_slot().values.address()
    }

    /// How rows are stored. Their width is that of the values.
    pub fn codec(&self) -> RowCodec {
        self.pipeline.codec()
    }

    /// The type of the values.
    pub fn value_type(&self) -> ValueType {
        self.pipeline.value_type()
    }

    /// Lets `stream` wait until the values of the next pass are there. May be captured.
    ///
    /// All passes of the slot must then be consumed in this one stream, each by this method and [`Self::release_on`],
    /// and none by [`Staged::consume_on`](crate::Staged::consume_on). A wait for a pass that is never staged does not
    /// end, nor does dropping the stream.
    ///
    /// # Errors
    /// A stream of another device, or a driver that refuses.
    pub fn wait_on(&self, stream: &Stream) -> Result<(), DeviceError> {
        self.wait_for(stream, OWNER, 1)
    }

    /// Lets `stream` wait until the values of the pass `number` are there.
    pub(super) fn wait_for_pass(&self, stream: &Stream, number: u64) -> Result<(), DeviceError> {
        self.wait_for(stream, MADE, number)
    }

    fn wait_for(&self, stream: &Stream, word: usize, value: u64) -> Result<(), DeviceError> {
        stream.check(self.pipeline.device())?;
        // SAFETY: the stream keeps the slot.
        stream.put([self.pipeline.clone() as Used], || unsafe {
            stream.wait_for(&self.pass_slot().words, word, value)
        })
    }

    /// Lets the next pass have the slot once `stream` comes here and needs the values no more. May be captured. Belongs
    /// after a [`Self::wait_on`] in the same stream; without one, passes get mixed up.
    ///
    /// # Errors
    /// As [`Self::wait_on`].
    pub fn release_on(&self, stream: &Stream) -> Result<(), DeviceError> {
        stream.check(self.pipeline.device())?;
        // SAFETY: the stream keeps the slot.
        stream.put([self.pipeline.clone() as Used], || unsafe {
            stream.write(&self.pass_slot().words, OWNER, 0)
        })
    }

    /// Releases the slot for a pass that was consumed in `stream`. If the driver refuses, nobody releases it before the
    /// ring is dropped, so the layer takes no more passes.
    pub(super) fn release_pass_on(&self, stream: &Stream) -> Result<(), DeviceError> {
        let released = self.release_on(stream);
        if released.is_err() {
            self.pipeline.end();
        }
        self.pass_slot().end_pass();
        released
    }

    /// Leaves the release of a pass to a graph.
    pub(super) fn leave_to_graph(&self) {
        self.pass_slot().end_pass();
    }

    /// Frees the slot of the pass `number`, which nobody consumes.
    pub(super) fn drop_pass(&self, number: u64) {
        self.pipeline.drop_pass(self.slot_index, number);
    }

    /// Copies the values to `to` in `stream`, as many bytes as `to` has. May be captured. Belongs between
    /// [`Self::wait_on`] and [`Self::release_on`], or in the work of a
    /// [`Staged::consume_on`](crate::Staged::consume_on).
    ///
    /// # Errors
    /// As [`Self::wait_on`], or more bytes than the slot has.
    pub fn copy_on(&self, stream: &Stream, to: &Arc<DeviceMemory>) -> Result<(), DeviceError> {
        self.check_copy(to.bytes())?;
        stream.check(self.pipeline.device())?;
        stream.check(to.device())?;
        let used = [self.pipeline.clone() as Used, to.clone()];
        // SAFETY: the stream keeps both. Other work that uses them is ordered by streams, and only bytes can come out
        // wrong.
        stream.put(used, || unsafe {
            stream.copy(self.address(), to.address(), to.bytes())
        })
    }

    /// As [`Self::copy_on`], to memory of cudarc, such as candle's, whose own stream `stream` must be.
    ///
    /// # Errors
    /// As there, memory of another stream, or values that are not f32.
    pub fn copy_to_slice_on(
        &self,
        stream: &Stream,
        to: &mut CudaSlice<f32>,
    ) -> Result<(), DeviceError> {
        let bytes = to.num_bytes();
        self.check_copy(bytes)?;
        if self.value_type() != ValueType::F32 {
            return Err(DeviceError::OtherValueType {
                found: self.value_type(),
                expected: ValueType::F32,
            });
        }
        stream.check(self.pipeline.device())?;
        let slice_stream = to.stream().clone();
        if slice_stream.cu_stream() as u64 != stream.handle() {
            return Err(DeviceError::OtherStream);
        }
        let (address, _written) = to.device_ptr_mut(&slice_stream);
        // SAFETY: the stream keeps the slot; memory of cudarc is freed in its own stream, after this copy.
        stream.put([self.pipeline.clone() as Used], || unsafe {
            stream.copy(self.address(), address, bytes)
        })
    }

    fn check_copy(&self, bytes: usize) -> Result<(), DeviceError> {
        let max = self.pass_slot().values.bytes();
        if bytes > max {
            return Err(DeviceError::CopyTooLong { found: bytes, max });
        }
        Ok(())
    }

    /// The time that the device took for the last pass whose outcome was good: copies, decoding, and waiting for the
    /// consumer of the pass before. Waits until it is done. None if the ring was not made to be timed.
    ///
    /// # Errors
    /// Work that has failed, or no pass yet.
    #[cfg(feature = "bench")]
    pub fn device_time(&self) -> Result<Option<std::time::Duration>, DeviceError> {
        let times = self.pass_slot().times.as_ref();
        times.map(|[start, end]| start.elapsed(end)).transpose()
    }
}
