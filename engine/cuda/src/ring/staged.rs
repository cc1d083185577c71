//! What a consumer has of a pass.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cudarc::driver::{CudaSlice, DevicePtrMut};
use engram::{LookupError, RowCodec};

use super::{
    lane::Shared,
    slot::{MADE, OWNER, Slot},
};
use crate::{
    device::{DeviceMemory, Stream},
    error::{DeviceError, expect},
    kernels::Output,
};

/// Where a consumer finds the rows of passes that use one slot of a layer: at a fixed address.
#[derive(Debug, Clone)]
pub struct Port {
    lane: Arc<Shared>,
    slot: usize,
}

impl Port {
    pub(super) fn new(lane: &Arc<Shared>, slot: usize) -> Self {
        Self {
            lane: lane.clone(),
            slot,
        }
    }

    fn slot(&self) -> &Slot {
        &self.lane.slots[self.slot]
    }

    /// The device address of the values, `[row][width]`, a multiple of 256.
    pub fn address(&self) -> u64 {
        self.slot().output.address()
    }

    /// How rows are stored; their width is that of the values.
    pub fn codec(&self) -> RowCodec {
        self.lane.codec()
    }

    /// What the values are.
    pub fn output(&self) -> Output {
        self.lane.output()
    }

    /// Lets `stream` wait until the values of the next pass are there. May be captured. Passes of a port are for one
    /// stream alone that waits here, and those that are consumed by [`Staged::consume_on`] are not for it.
    ///
    /// # Errors
    /// A stream of another device, or a driver that refuses.
    pub fn wait_on(&self, stream: &Stream) -> Result<(), DeviceError> {
        self.wait_for(stream, OWNER, 1)
    }

    fn wait_for(&self, stream: &Stream, word: usize, value: u64) -> Result<(), DeviceError> {
        stream.check(self.lane.device())?;
        stream.keep(self.lane.clone());
        // SAFETY: the stream keeps the lane.
        unsafe { stream.wait_for(&self.slot().words, word, value) }
    }

    /// Lets the next pass have the slot once `stream` comes here: it needs the values no more. May be captured. Without
    /// a [`Self::wait_on`] before, passes get mixed up.
    ///
    /// # Errors
    /// As [`Self::wait_on`].
    pub fn release_on(&self, stream: &Stream) -> Result<(), DeviceError> {
        stream.check(self.lane.device())?;
        stream.keep(self.lane.clone());
        // SAFETY: as above.
        unsafe { stream.write(&self.slot().words, OWNER, 0) }
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
        let (bytes, most) = (to.num_bytes(), self.slot().output.bytes());
        expect(
            bytes <= most,
            "bytes to copy",
            bytes,
            format!("at most {most}"),
        )?;
        let value_bytes = self.output().bytes();
        expect(
            self.output() == Output::F32,
            "bytes of a value",
            value_bytes,
            "4, as f32",
        )?;
        stream.check(self.lane.device())?;
        let theirs = to.stream().clone();
        if theirs.cu_stream() as u64 != stream.handle() {
            return Err(DeviceError::Unsupported {
                device: stream.device().name(),
                what: "copy to memory of another stream",
            });
        }
        stream.keep(self.lane.clone());
        let (address, _written) = to.device_ptr_mut(&theirs);
        // SAFETY: the stream keeps the lane; memory of cudarc is freed in its own stream, after this copy.
        unsafe { stream.copy(self.address(), address, bytes) }
    }

    /// How long the device took for the last pass whose outcome was good: copies, decoding, and waiting for the consumer
    /// of the pass before. Waits until it is done.
    ///
    /// # Errors
    /// Work that has failed, or no pass yet.
    pub fn device_time(&self) -> Result<Duration, DeviceError> {
        let [start, end] = &self.slot().marks;
        start.until(end)
    }

    /// Copies the values to `to` in `stream`, as many bytes as it has. May be captured; belongs between the two above.
    ///
    /// # Errors
    /// As [`Self::wait_on`], or more bytes than the slot has.
    pub fn copy_on(&self, stream: &Stream, to: &Arc<DeviceMemory>) -> Result<(), DeviceError> {
        let most = self.slot().output.bytes();
        expect(
            to.bytes() <= most,
            "bytes to copy",
            to.bytes(),
            format!("at most {most}"),
        )?;
        stream.check(self.lane.device())?;
        stream.keep(self.lane.clone());
        stream.keep(to.clone());
        // SAFETY: the stream keeps both. What else is told to use them is ordered by streams, and only bytes can come
        // out wrong.
        unsafe { stream.copy(self.address(), to.address(), to.bytes()) }
    }
}

/// A pass whose rows are on their way to the device. Dropped unused, its slot is freed once they have come.
#[derive(Debug)]
pub struct Staged {
    port: Port,
    number: u64,
    rows: usize,
    /// None once somebody else sees to the release.
    progress: Option<Arc<Progress>>,
}

impl Staged {
    pub(super) fn new(port: Port, number: u64, rows: usize, progress: Arc<Progress>) -> Self {
        Self {
            port,
            number,
            rows,
            progress: Some(progress),
        }
    }

    /// Where the values will be.
    pub fn port(&self) -> &Port {
        &self.port
    }

    /// Rows of the pass.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether all rows have come, so that whoever waits does so for the device alone.
    pub fn is_there(&self) -> bool {
        self.progress
            .as_ref()
            .is_none_or(|progress| progress.is_finished())
    }

    /// Lets `stream` wait until the values are there, has `consume` put work that reads them in the stream, and frees
    /// the slot once the stream comes that far. What was computed counts only if the outcome is good.
    ///
    /// # Errors
    /// As [`Port::wait_on`].
    pub fn consume_on<R>(
        mut self,
        stream: &Stream,
        consume: impl FnOnce(&Port) -> R,
    ) -> Result<(R, Outcome), DeviceError> {
        // A graph would wait for this pass each time; a port is what it can wait for.
        stream.check_not_captured()?;
        self.port.wait_for(stream, MADE, self.number)?;
        let outcome = self.outcome();
        let release = Release {
            port: &self.port,
            stream,
        };
        let result = consume(&self.port);
        release.now()?;
        Ok((result, outcome))
    }

    /// Leaves waiting and releasing to a graph that was captured with this pass's port and is launched once for it.
    pub fn into_graph(mut self) -> Outcome {
        self.port.slot().consumed();
        self.outcome()
    }

    /// Waits in `stream`, copies the values to the host, little-endian `[row][width]`, and frees the slot.
    ///
    /// # Errors
    /// As [`Port::wait_on`] and [`Outcome::wait`], or no memory.
    pub fn read_on(self, stream: &Stream) -> Result<Vec<u8>, DeviceError> {
        let bytes = self.rows * self.port.codec().width() * self.port.output().bytes();
        let pinned = stream.device().pinned(bytes.max(1))?;
        let (copied, outcome) = self.consume_on(stream, |port| {
            // SAFETY: the stream keeps the lane, and is waited for before the pinned memory is touched or dropped.
            unsafe { stream.copy(port.address(), pinned.address(), bytes) }
        })?;
        let values = stream.take(pinned, bytes, copied)?;
        outcome.wait()?;
        Ok(values)
    }

    fn outcome(&mut self) -> Outcome {
        let progress = self.progress.take();
        Outcome(progress.expect("given away once, with the pass"))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.progress.take().is_some() {
            // The lane's stream makes values all the same, and frees the slot after that. A driver that refuses has
            // ended the lane.
            let _ = self.port.lane.drop_pass(self.port.slot, self.number);
            self.port.slot().consumed();
        }
    }
}

/// Gives a slot back once the consumer's stream comes that far, even if what puts the consumer's work in it panics.
struct Release<'a> {
    port: &'a Port,
    stream: &'a Stream,
}

impl Release<'_> {
    fn now(self) -> Result<(), DeviceError> {
        let released = self.port.release_on(self.stream);
        self.port.slot().consumed();
        std::mem::forget(self);
        released
    }
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        // The panic tells more.
        let _ = self.port.release_on(self.stream);
        self.port.slot().consumed();
    }
}

/// Whether the rows of a pass were had.
#[must_use = "values of a pass that failed are zeros"]
pub struct Outcome(Arc<Progress>);

impl Outcome {
    /// Waits until all rows have come from the store; the device goes on by itself.
    ///
    /// # Errors
    /// Rows that could not be read or are damaged. The values of the pass are all zero then.
    pub fn wait(self) -> Result<(), DeviceError> {
        Ok(self.0.wait()?)
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").finish_non_exhaustive()
    }
}

/// Whether the rows of a pass have come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    result: Mutex<Option<Result<(), LookupError>>>,
    is_there: Condvar,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, Option<Result<(), LookupError>>> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn finish(&self, result: Result<(), LookupError>) {
        *self.lock() = Some(result);
        self.is_there.notify_all();
    }

    fn is_finished(&self) -> bool {
        self.lock().is_some()
    }

    fn wait(&self) -> Result<(), LookupError> {
        let mut result = self.lock();
        loop {
            if let Some(result) = result.take() {
                return result;
            }
            result = self
                .is_there
                .wait(result)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}
