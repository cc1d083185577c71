//! The way of one layer's rows.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use engram::{Batch, Buffer, LayerId, RowCodec, RowId, Store, Ticket};

use super::{
    RingConfig,
    resolve::{Counts, Resolver},
    slot::{COPIED, FETCHED, MADE, OWNER, Slot},
    staged::{Port, Progress, Staged},
};
use crate::{
    device::{Device, Stream},
    error::{DeviceError, expect},
    kernels::{Decode, Kernel, Output, check_threads, step},
    origin::Origin,
    unique::Unique,
};

/// What has been done for a layer since its ring was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LaneMetrics {
    /// The model's layer id.
    pub layer: LayerId,
    /// Passes staged.
    pub passes: u64,
    /// Times that no slot was free.
    pub refused: u64,
    /// Rows asked for that were in device memory.
    pub hot: u64,
    /// Rows asked for that the device read in host memory.
    pub mapped: u64,
    /// Rows asked for that came through staging buffers.
    pub staged: u64,
    /// The same, each once a pass: what the store was asked for and crossed the bus.
    pub unique: u64,
}

/// A layer's slots, what is staged in them, and who waits for tickets.
#[derive(Debug)]
pub(super) struct Lane {
    shared: Arc<Shared>,
    origin: Origin,
    front: Mutex<Front>,
    /// None once the lane is being dropped.
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// What streams use, and so must outlive them.
#[derive(Debug)]
pub(super) struct Shared {
    layer: LayerId,
    codec: RowCodec,
    output: Output,
    step: u32,
    // Dropped before the slots: it waits for its work.
    stream: Stream,
    pub(super) slots: Vec<Slot>,
    /// What the stream reads besides the slots.
    config: RingConfig,
}

/// Who stages, one at a time.
#[derive(Debug)]
struct Front {
    resolver: Resolver,
    metrics: LaneMetrics,
    /// Whether the driver has refused a pass half-way, or the thread has panicked.
    has_ended: bool,
}

/// A pass whose rows are on their way from the store, and which the device waits for.
#[derive(Debug)]
struct Job {
    number: u64,
    slot: usize,
    rows: usize,
    ticket: Ticket,
    progress: Arc<Progress>,
}

impl Lane {
    pub(super) fn new(
        device: &Device,
        store: &Arc<Store>,
        layer: LayerId,
        rank: usize,
        config: &RingConfig,
    ) -> Result<Self, DeviceError> {
        let codec = store.codec(layer)?;
        let (row_bytes, output_bytes) = (codec.row_bytes(), codec.width() * config.output.bytes());
        let hot = config.hot.iter().find(|hot| hot.layer() == layer).cloned();
        let mapped = config.mapped.iter().find(|mapped| mapped.layer() == layer);
        let mapped = mapped.cloned();
        let mut step = step(codec, row_bytes);
        if let Some(mapped) = &mapped {
            step = step.min(mapped.step()?);
        }
        check_threads(config.rows, codec, step)?;
        let slots =
            (0..config.depth).map(|_| Slot::new(device, config.rows, row_bytes, output_bytes));
        let shared = Arc::new(Shared {
            layer,
            codec,
            output: config.output,
            step,
            stream: device.stream(rank)?,
            slots: slots.collect::<Result<_, _>>()?,
            config: config.clone(),
        });
        let resolver = Resolver {
            hot,
            mapped,
            unique: Unique::default(),
        };
        let (jobs, todo) = sync_channel(config.depth);
        let name = format!("engram lane {layer}");
        let thread = thread::Builder::new().name(name).spawn({
            let shared = shared.clone();
            move || todo.into_iter().for_each(|job: Job| job.finish(&shared))
        });
        let thread = thread.map_err(|error| DeviceError::Call {
            call: "spawn",
            message: error.to_string(),
        })?;
        Ok(Self {
            shared,
            origin: Origin::new(device, store, layer),
            front: Mutex::new(Front {
                resolver,
                metrics: LaneMetrics {
                    layer,
                    ..LaneMetrics::default()
                },
                has_ended: false,
            }),
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    pub(super) fn layer(&self) -> LayerId {
        self.shared.layer
    }

    pub(super) fn metrics(&self) -> LaneMetrics {
        self.front
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .metrics
    }

    pub(super) fn ports(&self) -> Vec<Port> {
        let slots = 0..self.shared.slots.len();
        slots.map(|slot| Port::new(&self.shared, slot)).collect()
    }

    pub(super) fn stage(&self, rows: &[RowId]) -> Result<Option<Staged>, DeviceError> {
        let most = self.shared.config.rows;
        expect(
            rows.len() <= most,
            "rows of a pass",
            rows.len(),
            format!("at most {most}"),
        )?;
        self.origin.check_rows(rows)?;
        let mut front = self.front.lock().unwrap_or_else(PoisonError::into_inner);
        if front.has_ended {
            return Err(self.ended());
        }
        let Front {
            resolver, metrics, ..
        } = &mut *front;
        let number = metrics.passes + 1;
        let index = usize::try_from(metrics.passes).unwrap_or(0) % self.shared.slots.len();
        let slot = &self.shared.slots[index];
        let Some(mut pinned) = slot.is_free().then(|| slot.home.take()).flatten() else {
            metrics.refused += 1;
            return Ok(None);
        };
        let row_bytes = self.shared.codec.row_bytes();
        let device_rows = slot.device_rows.address();
        // The device has read what the pass before wrote: the slot is free.
        let counts: Counts = {
            let mut addresses = slot.addresses();
            let addresses = &mut addresses.as_mut_words()[..rows.len()];
            resolver.resolve(rows, device_rows, row_bytes, addresses)
        };
        let unique = resolver.unique.rows();
        pinned.reset(unique.len(), [row_bytes, 0]);
        // From here on it goes home by itself.
        let buffer = Buffer::new(pinned, slot.home.clone());
        let batch = Batch::new(self.shared.layer, unique);
        let ticket = self.origin.store.submit(batch, buffer)?;
        let count = u32::try_from(rows.len()).expect("fewer threads than 2^32");
        slot.used_by(number);
        if let Err(error) = (self.shared).enqueue(slot, number, count, unique.len() * row_bytes) {
            // What has been put in the stream must not wait for ever.
            slot.fetched(number);
            front.has_ended = true;
            return Err(error);
        }
        metrics.passes = number;
        metrics.hot += counts.hot;
        metrics.mapped += counts.mapped;
        metrics.staged += counts.staged;
        metrics.unique += unique.len() as u64;
        let progress = Arc::new(Progress::default());
        let job = Job {
            number,
            slot: index,
            rows: rows.len(),
            ticket,
            progress: progress.clone(),
        };
        let port = Port::new(&self.shared, index);
        let staged = Staged::new(port, number, rows.len(), progress);
        if job.ticket.is_done() {
            job.finish(&self.shared);
        } else {
            let jobs = self.jobs.as_ref().expect("there until dropped");
            // There are as many places as slots, so this does not wait.
            if jobs.send(job).is_err() {
                front.has_ended = true;
                return Err(self.ended());
            }
        }
        Ok(Some(staged))
    }

    fn ended(&self) -> DeviceError {
        DeviceError::Ended {
            layer: self.shared.layer,
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // The thread ends once the rows of what was staged have come.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been printed.
            let _ = thread.join();
        }
    }
}

impl Job {
    /// Waits for the rows, and tells the device, which waits by itself, that they are there. Calls nothing of the driver.
    fn finish(self, shared: &Shared) {
        let Self {
            number,
            slot,
            rows,
            ticket,
            progress,
        } = self;
        let slot = &shared.slots[slot];
        let _told = Told { slot, number };
        // The buffer goes home, where it stays until the device has read it.
        let result = ticket.wait().map(drop);
        if result.is_err() {
            // The consumer waits for rows, whatever comes; zeros are never taken for good ones.
            slot.addresses().as_mut_words()[..rows].fill(0);
        }
        progress.finish(result);
    }
}

/// Tells the device that rows are there, even if a thread panics.
struct Told<'a> {
    slot: &'a Slot,
    number: u64,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.slot.fetched(self.number);
    }
}

impl Shared {
    /// Tells the device what to do once rows are there.
    fn enqueue(
        &self,
        slot: &Slot,
        number: u64,
        rows: u32,
        bytes: usize,
    ) -> Result<(), DeviceError> {
        let address_bytes = rows as usize * size_of::<u64>();
        let addresses = slot.addresses().address();
        let decode = Decode {
            addresses: slot.device_addresses.address(),
            out: slot.output.address(),
            rows,
            step: self.step,
            codec: self.codec.into(),
        };
        let decode = Kernel::Decode(decode, self.codec, self.output);
        let stream = &self.stream;
        // SAFETY: the slot lives until the stream has done its work. Nobody writes pinned memory from FETCHED until COPIED
        // has this pass's number; the device's rows and addresses are used by this stream alone, in order; the output is the
        // stream's while OWNER is zero. Hot rows and mapped columns are kept in `config`.
        unsafe {
            stream.wait_for(&slot.words, FETCHED, number)?;
            stream.record(&slot.marks[0])?;
            stream.copy(slot.rows_address, slot.device_rows.address(), bytes)?;
            stream.copy(addresses, slot.device_addresses.address(), address_bytes)?;
            stream.write(&slot.words, COPIED, number)?;
            stream.wait_for(&slot.words, OWNER, 0)?;
            stream.launch(&decode)?;
            stream.record(&slot.marks[1])?;
            // In this order: who sees MADE may release the output at once.
            stream.write(&slot.words, OWNER, 1)?;
            stream.write(&slot.words, MADE, number)
        }
    }

    /// Releases the output of the pass `number`, which is in the stream and nobody consumes.
    pub(super) fn drop_pass(&self, slot: usize, number: u64) -> Result<(), DeviceError> {
        let slot = &self.slots[slot];
        slot.dropped_by(number);
        // SAFETY: the lane lives until its stream has done its work.
        unsafe {
            self.stream.write(&slot.words, OWNER, 0)?;
            self.stream.write(&slot.words, COPIED, !number)
        }
    }

    pub(super) fn codec(&self) -> RowCodec {
        self.codec
    }

    pub(super) fn output(&self) -> Output {
        self.output
    }

    pub(super) fn device(&self) -> &Device {
        self.stream.device()
    }
}
