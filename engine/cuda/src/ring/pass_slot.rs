//! The memory of one pass of a layer.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use engram::{BufferPool, RowBuffer};

use crate::{
    device::Device,
    driver::Timing,
    error::DeviceError,
    event::Event,
    memory::{DeviceMemory, PinnedMemory},
};

/// Index of the word that tells who owns the output: zero for the layer's stream, one for the consumer. Graphs wait for
/// this word, because the values that they wait for are fixed.
pub(super) const OWNER: usize = 0;
/// Index of the word that has the number of the last pass whose output was made. Consumers without a graph wait for
/// this word, because they may use different streams.
pub(super) const MADE: usize = 1;
/// Index of the word that has the number of the last pass whose pinned memory the device has read. Where that pass was
/// dropped and its output has been released since, it has the complement of the number.
pub(super) const COPIED: usize = 2;
/// Index of the word that has the number of the last pass whose rows are in pinned memory. The host writes it.
pub(super) const FETCHED: usize = 3;
const WORDS: usize = 4;

/// Memory at fixed addresses on both sides, which passes use in turn.
#[derive(Debug)]
pub(super) struct PassSlot {
    /// The pinned rows, while no ticket has them.
    pub(super) pool: Arc<SlotPool>,
    /// Address of the pinned rows.
    pub(super) rows_address: u64,
    /// The device address of each row of the pass.
    addresses: Mutex<PinnedMemory>,
    pub(super) words: PinnedMemory,
    pub(super) device_rows: DeviceMemory,
    pub(super) device_addresses: DeviceMemory,
    pub(super) values: DeviceMemory,
    /// Passed by the layer's stream before and after the device's part of a pass, if passes are timed.
    pub(super) times: Option<[Event; 2]>,
    /// The value of COPIED from which on pinned memory is free.
    free_at: AtomicU64,
    /// Whether a pass is staged that nobody has consumed. A stream that waits for the release must come after it.
    is_staged: AtomicBool,
}

/// Keeps a slot's staging buffer between passes.
#[derive(Debug)]
pub(super) struct SlotPool(Mutex<Option<RowBuffer>>);

impl SlotPool {
    pub(super) fn take(&self) -> Option<RowBuffer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl BufferPool for SlotPool {
    fn recycle(&self, rows: RowBuffer) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(rows);
    }
}

impl PassSlot {
    /// For passes of up to `max_rows` rows of `row_bytes` bytes, decoded to values of `value_bytes` bytes a row.
    pub(super) fn new(
        device: &Device,
        max_rows: usize,
        row_bytes: usize,
        value_bytes: usize,
        is_timed: bool,
    ) -> Result<Self, DeviceError> {
        let pinned = device.pinned(max_rows * row_bytes)?;
        let rows_address = pinned.address();
        let times = if is_timed {
            let new = || Event::new(device, Timing::Timed);
            Some([new()?, new()?])
        } else {
            None
        };
        let buffer = RowBuffer::of(Box::new(pinned));
        Ok(Self {
            pool: Arc::new(SlotPool(Mutex::new(Some(buffer)))),
            rows_address,
            addresses: Mutex::new(device.pinned(max_rows * size_of::<u64>())?),
            words: device.pinned(WORDS * size_of::<u64>())?,
            device_rows: device.memory(max_rows * row_bytes)?,
            device_addresses: device.memory(max_rows * size_of::<u64>())?,
            values: device.memory(max_rows * value_bytes)?,
            times,
            free_at: AtomicU64::new(0),
            is_staged: AtomicBool::new(false),
        })
    }

    pub(super) fn addresses(&self) -> MutexGuard<'_, PinnedMemory> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the pass before has been consumed, and the device has read its pinned memory.
    pub(super) fn is_free(&self) -> bool {
        let copied = self.words.word(COPIED).load(Ordering::Acquire);
        !self.is_staged.load(Ordering::Acquire) && copied == self.free_at.load(Ordering::Acquire)
    }

    /// The pass `number` uses the slot from now on.
    pub(super) fn begin_pass(&self, number: u64) {
        self.free_at.store(number, Ordering::Release);
        self.is_staged.store(true, Ordering::Release);
    }

    /// The pass was consumed or dropped: a stream has been told to release the output, or a graph will be.
    pub(super) fn end_pass(&self) {
        self.is_staged.store(false, Ordering::Release);
    }

    /// The layer's stream will release the output of the pass `number`, which nobody consumes.
    pub(super) fn drop_pass(&self, number: u64) {
        self.free_at.store(!number, Ordering::Release);
    }

    /// Tells the device that the rows of the pass `number` are in pinned memory, or that zeros take their place.
    pub(super) fn set_fetched(&self, number: u64) {
        self.words.word(FETCHED).store(number, Ordering::Release);
    }

    /// Releases the output from the host, where no stream will.
    pub(super) fn release(&self) {
        self.words.word(OWNER).store(0, Ordering::Release);
    }
}
