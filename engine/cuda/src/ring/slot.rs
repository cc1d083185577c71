//! The memory of one pass of a layer.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use engram::{BufferHome, RowBuffer};

use crate::{
    device::{Device, DeviceMemory, Mark, PinnedMemory},
    error::DeviceError,
};

/// Index of the word that says whose the output is: zero, the lane's; one, the consumer's. Graphs wait for that, for
/// their values are fixed.
pub(super) const OWNER: usize = 0;
/// Index of the word that has the number of the last pass whose output was made. Other consumers wait for that, for they
/// may use different streams.
pub(super) const MADE: usize = 1;
/// Index of the word that has the number of the last pass whose pinned memory the device has read, or its complement
/// where the pass was dropped and its output released since.
pub(super) const COPIED: usize = 2;
/// Index of the word that has the number of the last pass whose rows are in pinned memory. The host writes it.
pub(super) const FETCHED: usize = 3;
const WORDS: usize = 4;

/// Fixed memory on both sides.
#[derive(Debug)]
pub(super) struct Slot {
    /// The pinned rows, while no ticket has them.
    pub(super) home: Arc<Home>,
    pub(super) rows_address: u64,
    /// Where each row of the pass lies on the device.
    addresses: Mutex<PinnedMemory>,
    pub(super) words: PinnedMemory,
    pub(super) device_rows: DeviceMemory,
    pub(super) device_addresses: DeviceMemory,
    pub(super) output: DeviceMemory,
    /// Passed by the lane's stream before and after the last pass.
    pub(super) marks: [Mark; 2],
    /// What COPIED will be before the slot is free.
    last: AtomicU64,
    /// Whether a pass is staged that nobody has consumed: a stream that waits for the release must come after it.
    is_staged: AtomicBool,
}

/// Keeps a slot's staging buffer between passes.
#[derive(Debug)]
pub(super) struct Home(Mutex<Option<RowBuffer>>);

impl Home {
    pub(super) fn take(&self) -> Option<RowBuffer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl BufferHome for Home {
    fn take_back(&self, rows: RowBuffer) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(rows);
    }
}

impl Slot {
    pub(super) fn new(
        device: &Device,
        rows: usize,
        row_bytes: usize,
        output_bytes: usize,
    ) -> Result<Self, DeviceError> {
        let pinned = device.pinned(rows * row_bytes)?;
        let rows_address = pinned.address();
        Ok(Self {
            home: Arc::new(Home(Mutex::new(Some(RowBuffer::of(Box::new(pinned)))))),
            rows_address,
            addresses: Mutex::new(device.pinned(rows * size_of::<u64>())?),
            words: device.pinned(WORDS * size_of::<u64>())?,
            device_rows: device.memory(rows * row_bytes)?,
            device_addresses: device.memory(rows * size_of::<u64>())?,
            output: device.memory(rows * output_bytes)?,
            marks: [Mark::new(device)?, Mark::new(device)?],
            last: AtomicU64::new(0),
            is_staged: AtomicBool::new(false),
        })
    }

    pub(super) fn addresses(&self) -> MutexGuard<'_, PinnedMemory> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the pass before has been consumed, and the device has read what it put in pinned memory.
    pub(super) fn is_free(&self) -> bool {
        let copied = self.words.word(COPIED).load(Ordering::Acquire);
        !self.is_staged.load(Ordering::Acquire) && copied == self.last.load(Ordering::Acquire)
    }

    /// The pass `number` will use pinned memory.
    pub(super) fn used_by(&self, number: u64) {
        self.last.store(number, Ordering::Release);
        self.is_staged.store(true, Ordering::Release);
    }

    /// A stream has been told to release the output, or will be by a graph.
    pub(super) fn consumed(&self) {
        self.is_staged.store(false, Ordering::Release);
    }

    /// The output of the pass `number`, which nobody consumes, will be released by the lane's stream.
    pub(super) fn dropped_by(&self, number: u64) {
        self.last.store(!number, Ordering::Release);
    }

    /// The rows of the pass `number` are in pinned memory, or zeros take their place.
    pub(super) fn fetched(&self, number: u64) {
        self.words.word(FETCHED).store(number, Ordering::Release);
    }
}
