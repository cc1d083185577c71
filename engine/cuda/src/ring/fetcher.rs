//! The thread that waits for a layer's tickets.

use std::{
    mem,
    sync::{
        Arc,
        mpsc::{SendError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use engram::{LayerId, Ticket};

use super::{pipeline::LayerPipeline, progress::Progress};
use crate::error::DeviceError;

/// A pass whose rows are on their way from the store, and which the device waits for.
///
/// However a job ends, done, failed, panicked or never run: dropping it tells the device and whoever waits for the
/// outcome.
#[derive(Debug)]
pub(super) struct Job {
    pipeline: Arc<LayerPipeline>,
    slot_index: usize,
    number: u64,
    row_count: usize,
    ticket: Option<Ticket>,
    progress: Arc<Progress>,
    result: Result<(), DeviceError>,
}

impl Job {
    pub(super) fn new(
        pipeline: &Arc<LayerPipeline>,
        slot_index: usize,
        number: u64,
        row_count: usize,
        ticket: Ticket,
    ) -> Self {
        Self {
            slot_index,
            number,
            row_count,
            progress: Arc::new(Progress::new(ticket.canceller())),
            ticket: Some(ticket),
            result: Err(pipeline.ended()),
            pipeline: pipeline.clone(),
        }
    }

    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Whether running this would not wait.
    pub(super) fn is_ready(&self) -> bool {
        self.ticket.as_ref().is_none_or(Ticket::is_done)
    }

    /// Waits for the rows. Calls nothing of the driver.
    pub(super) fn run(mut self) {
        if let Some(ticket) = self.ticket.take() {
            // The buffer returns to its slot, where it stays until the device has read it.
            self.result = ticket.wait().map(drop).map_err(Into::into);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let slot = &self.pipeline.slots()[self.slot_index];
        if self.result.is_err() {
            // The consumer waits for values, whatever happens. Zeros are never taken for good ones.
            slot.addresses().as_mut_words()[..self.row_count].fill(0);
        }
        let result = mem::replace(&mut self.result, Ok(()));
        self.progress.finish(result);
        slot.set_fetched(self.number);
    }
}

/// Runs the jobs of a layer in order, in a thread. Dropping it waits for them.
#[derive(Debug)]
pub(super) struct Fetcher {
    /// None once this is being dropped.
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Fetcher {
    /// With room for `depth` jobs.
    pub(super) fn new(layer: LayerId, depth: usize) -> Result<Self, DeviceError> {
        let (jobs, queue) = sync_channel::<Job>(depth);
        let thread = thread::Builder::new().name(format!("engram ring {layer}"));
        let thread = thread.spawn(move || queue.into_iter().for_each(Job::run));
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread.map_err(DeviceError::Thread)?),
        })
    }

    /// Hands a job to the thread. Does not wait while there is room.
    ///
    /// # Errors
    /// A thread that has panicked: the job and its layer have ended then.
    pub(super) fn send(&self, job: Job) -> Result<(), DeviceError> {
        let jobs = self.jobs.as_ref().expect("there until this is dropped");
        jobs.send(job).map_err(|SendError(job)| {
            job.pipeline.end();
            job.pipeline.ended()
        })
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        // The thread ends when it has run what is in the queue.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been printed already.
            let _ = thread.join();
        }
    }
}
