//! The threads that read.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use engram_io::{DirectFile, EngineKind, IoError, ReadEngine, ThreadsEngine, UringEngine, Waker};

use super::{Fetch, Outstanding};
use crate::error::LookupError;

/// Reads that a thread takes at a time, so that others get some.
const TAKEN_AT_ONCE: usize = 64;

/// How threads read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerKind {
    Uring { depth: u16 },
    Blocking,
}

/// Threads that carry out fetches until this is dropped; then they finish what was submitted.
#[derive(Debug)]
pub(crate) struct Workers {
    jobs: Arc<Jobs>,
    threads: Vec<JoinHandle<()>>,
    /// Of the threads that wait for several reads at a time.
    bells: Vec<Waker>,
    pub(crate) queue: EngineKind,
    pub(crate) slot_bytes: usize,
    pub(crate) past_page_cache: bool,
    /// Reads that a thread has in flight at most.
    thread_depth: usize,
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    in_flight: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    stop: bool,
}

/// The reads of a fetch that no thread has taken.
#[derive(Debug)]
struct Job {
    outstanding: Outstanding,
    next: usize,
}

/// A read that a thread has taken.
type Taken = (Outstanding, usize);

impl Workers {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// A system that refuses this kind of queue.
    pub(crate) fn start(
        kind: WorkerKind,
        threads: usize,
        files: &Arc<[DirectFile]>,
        slot_bytes: usize,
    ) -> Result<Self, IoError> {
        let mut workers = Self {
            jobs: Arc::default(),
            threads: Vec::with_capacity(threads),
            bells: Vec::new(),
            queue: EngineKind::Threads,
            slot_bytes,
            past_page_cache: files.iter().all(DirectFile::is_direct),
            thread_depth: match kind {
                WorkerKind::Uring { depth } => depth.into(),
                WorkerKind::Blocking => 1,
            },
        };
        let (report, reports) = mpsc::channel();
        for index in 0..threads {
            let (jobs, files, report) = (workers.jobs.clone(), files.clone(), report.clone());
            let run = move || {
                let _guard = StopOnPanic(&jobs);
                // A ring belongs to the thread that made it.
                match new_queue(kind, &files, slot_bytes) {
                    Ok((queue, kind)) => {
                        let _ = report.send(Ok((kind, queue.waker())));
                        drop(report);
                        Worker::new(queue, &files, slot_bytes).run(&jobs);
                    }
                    Err(error) => drop(report.send(Err(error))),
                }
            };
            let thread = thread::Builder::new().name(format!("engram-io-{index}"));
            let spawned = thread
                .spawn(run)
                .map_err(IoError::system("start a reading thread"))?;
            workers.threads.push(spawned);
        }
        drop(report);
        for _ in 0..threads {
            let ended = || {
                let at_once = std::io::Error::other("it ended at once");
                IoError::system("start a reading thread")(at_once)
            };
            let (queue, bell) = reports.recv().map_err(|_| ended())??;
            workers.queue = queue;
            workers.bells.extend(bell);
        }
        Ok(workers)
    }

    /// Threads that read.
    pub(crate) fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Reads that all threads have in flight at most.
    pub(crate) fn depth(&self) -> usize {
        self.threads() * self.thread_depth
    }

    /// Reads that are at the drive now.
    pub(crate) fn in_flight(&self) -> u64 {
        self.jobs.in_flight.load(Ordering::Relaxed)
    }

    /// Hands `fetch` to the threads.
    pub(crate) fn submit(&self, fetch: &Arc<Fetch>) {
        if fetch.plan.reads.is_empty() {
            return;
        }
        let job = Job {
            outstanding: Outstanding::all(fetch),
            next: 0,
        };
        let mut waiting = lock(&self.jobs.waiting);
        if waiting.stop {
            fetch.fail(LookupError::Aborted, &[]);
            return;
        }
        waiting.jobs.push_back(job);
        drop(waiting);
        if fetch.plan.reads.len() > 1 {
            self.jobs.changed.notify_all();
        } else {
            self.jobs.changed.notify_one();
        }
        self.bells.iter().for_each(Waker::wake);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        lock(&self.jobs.waiting).stop = true;
        self.jobs.changed.notify_all();
        for thread in self.threads.drain(..) {
            // One that panicked has said so; its fetches have failed.
            let _ = thread.join();
        }
    }
}

/// Ends all work when a thread panics, rather than leave others waiting for it.
struct StopOnPanic<'a>(&'a Jobs);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut waiting = lock(&self.0.waiting);
            waiting.stop = true;
            waiting.jobs.clear();
            self.0.changed.notify_all();
        }
    }
}

impl Jobs {
    /// Takes up to `room` reads; waits for some if `idle`, and listens to `bell` if there are fewer. False
    /// at the end of all work.
    fn take(&self, room: usize, idle: bool, bell: Option<&Waker>, taken: &mut Vec<Taken>) -> bool {
        let mut waiting = lock(&self.waiting);
        loop {
            while taken.len() < room
                && let Some(job) = waiting.jobs.front_mut()
            {
                let left = job.outstanding.fetch().plan.reads.len() - job.next;
                if left > 0 && !job.outstanding.fetch().is_cancelled() {
                    taken.push((job.outstanding.split(1), job.next));
                    job.next += 1;
                } else {
                    waiting.jobs.pop_front();
                }
            }
            if !taken.is_empty() || !idle {
                // While no job can be added.
                bell.into_iter()
                    .for_each(|bell| bell.listen(taken.len() < room));
                return true;
            }
            if waiting.stop {
                return false;
            }
            waiting = self
                .changed
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct Worker<'a> {
    queue: Box<dyn ReadEngine>,
    bell: Option<Waker>,
    files: &'a Arc<[DirectFile]>,
    slot_bytes: usize,
    /// What is read in each slot.
    slots: Vec<Option<Taken>>,
}

impl<'a> Worker<'a> {
    fn new(queue: Box<dyn ReadEngine>, files: &'a Arc<[DirectFile]>, slot_bytes: usize) -> Self {
        Self {
            slots: (0..queue.depth()).map(|_| None).collect(),
            bell: queue.waker(),
            queue,
            files,
            slot_bytes,
        }
    }

    fn run(&mut self, jobs: &Jobs) {
        let mut taken = Vec::with_capacity(TAKEN_AT_ONCE);
        loop {
            loop {
                let in_flight = self.queue.in_flight();
                let room = (self.queue.depth() - in_flight).min(TAKEN_AT_ONCE);
                if room > 0 && !jobs.take(room, in_flight == 0, self.bell.as_ref(), &mut taken) {
                    return;
                }
                let no_more = taken.len() < TAKEN_AT_ONCE;
                for (outstanding, read) in taken.drain(..) {
                    let slot = self.queue.begin(outstanding.fetch().plan.reads[read].block);
                    self.slots[slot as usize] = Some((outstanding, read));
                    jobs.in_flight.fetch_add(1, Ordering::Relaxed);
                }
                if no_more {
                    break;
                }
            }
            let slots = &mut self.slots;
            let finished = self.queue.finish(&mut |slot, bytes| {
                let (outstanding, read) = slots[slot as usize].take().expect("it was in flight");
                jobs.in_flight.fetch_sub(1, Ordering::Relaxed);
                outstanding.fetch().arrived(read, bytes);
            });
            if let Some(bell) = &self.bell {
                bell.listen(false);
            }
            if let Err(error) = finished {
                self.replace_queue(&error, jobs);
            }
        }
    }

    /// Fails what is in flight on a queue that the system no longer serves, and goes on by `pread`.
    fn replace_queue(&mut self, error: &IoError, jobs: &Jobs) {
        tracing::warn!(%error, "io_uring has failed; this thread goes on by pread");
        for (outstanding, read) in self.slots.drain(..).flatten() {
            jobs.in_flight.fetch_sub(1, Ordering::Relaxed);
            let error = std::io::Error::other(error.to_string());
            let lost = IoError::system("read through io_uring")(error);
            outstanding.fetch().arrived(read, Err(lost));
        }
        let queue = ThreadsEngine::new(self.files.clone(), self.slot_bytes);
        self.queue = Box::new(queue.expect("memory for one slot"));
        self.bell = None;
        self.slots.push(None);
    }
}

fn new_queue(
    kind: WorkerKind,
    files: &Arc<[DirectFile]>,
    slot_bytes: usize,
) -> Result<(Box<dyn ReadEngine>, EngineKind), IoError> {
    match kind {
        WorkerKind::Uring { depth } => {
            let queue = UringEngine::new(files.clone(), depth, slot_bytes)?;
            let kind = queue.kind();
            Ok((Box::new(queue), kind))
        }
        WorkerKind::Blocking => {
            let queue = ThreadsEngine::new(files.clone(), slot_bytes)?;
            Ok((Box::new(queue), EngineKind::Threads))
        }
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
