//! Files read past the page cache, by threads with many reads in flight.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use engram_io::{
    DirectFile, EngineKind, EngineRequest, Io, IoError, Process, ReadEngine, ThreadsEngine, Waker,
    lock,
};

use super::{Backing, PendingRead, PendingReads, ReadGeometry};

/// Reads that a thread takes at a time, so that others get some.
const TAKEN_AT_ONCE: usize = 64;

/// How a [`DiskBacking`] reads.
#[derive(Debug)]
pub(crate) struct DiskOptions {
    pub(crate) io: Arc<dyn Io>,
    pub(crate) request: EngineRequest,
    /// Threads, each with an engine of its own.
    pub(crate) threads: usize,
    /// Most bytes of one read.
    pub(crate) max_bytes: usize,
}

/// Threads that read until this is dropped; then they finish what was asked for.
#[derive(Debug)]
pub(crate) struct DiskBacking {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
    /// Of the threads that wait for several reads at a time.
    wakers: Vec<Waker>,
    kind: EngineKind,
    geometry: ReadGeometry,
    past_page_cache: bool,
    /// Reads that all threads have in flight at most.
    depth: usize,
    /// Where the threads are.
    process: Process,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
    in_flight: AtomicU64,
}

#[derive(Debug, Default)]
struct QueueState {
    /// Reads that no thread has taken.
    waiting: VecDeque<PendingReads>,
    stopped: bool,
}

impl DiskBacking {
    /// Starts the threads.
    ///
    /// # Errors
    /// A system that refuses the engine, or every thread.
    pub(crate) fn start(options: &DiskOptions, files: &Arc<[DirectFile]>) -> Result<Self, IoError> {
        let max_bytes = options.max_bytes;
        let mut backing = Self {
            queue: Arc::default(),
            threads: Vec::with_capacity(options.threads),
            wakers: Vec::new(),
            kind: EngineKind::Threads,
            geometry: ReadGeometry {
                units: files.iter().map(DirectFile::unit).collect(),
                max_bytes,
            },
            past_page_cache: files.iter().all(DirectFile::is_direct),
            depth: 0,
            process: Process::current(),
        };
        let (report, reports) = mpsc::channel();
        for index in 0..options.threads {
            let (queue, files, io) = (backing.queue.clone(), files.clone(), options.io.clone());
            let (request, report) = (options.request, report.clone());
            let run = move || {
                let _guard = StopOnPanic(&queue);
                // An engine belongs to the thread that made it.
                match io.engine(request, &files, max_bytes) {
                    Ok(engine) => {
                        let _ = report.send(Ok((engine.kind(), engine.depth(), engine.waker())));
                        drop(report);
                        Reader::new(engine, &files, max_bytes).run(&queue);
                    }
                    Err(error) => drop(report.send(Err(error))),
                }
            };
            let builder = thread::Builder::new().name(format!("engram-io-{index}"));
            match builder.spawn(run) {
                Ok(thread) => backing.threads.push(thread),
                // As many threads as are granted: one is enough.
                Err(error) if index > 0 => {
                    tracing::warn!(%error, granted = index, "reading by fewer threads than asked for");
                    break;
                }
                Err(cause) => return Err(IoError::system("start a reading thread")(cause)),
            }
        }
        drop(report);
        for _ in 0..backing.threads.len() {
            let report = reports.recv().map_err(|_| {
                let cause = std::io::Error::other("it ended before it could read");
                IoError::system("start a reading thread")(cause)
            })?;
            let (kind, depth, waker) = report?;
            backing.kind = kind;
            backing.depth += depth;
            backing.wakers.extend(waker);
        }
        Ok(backing)
    }

    /// How reads get to the drive.
    pub(crate) fn kind(&self) -> EngineKind {
        self.kind
    }

    /// Threads that read.
    pub(crate) fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Whether all files are read past the page cache.
    pub(crate) fn past_page_cache(&self) -> bool {
        self.past_page_cache
    }
}

impl Backing for DiskBacking {
    fn geometry(&self) -> &ReadGeometry {
        &self.geometry
    }

    fn fetch(&self, reads: PendingReads) {
        let mut state = lock(&self.queue.state);
        if state.stopped {
            drop(state);
            reads.abort();
            return;
        }
        let several = reads.len() > 1;
        state.waiting.push_back(reads);
        drop(state);
        if several {
            self.queue.changed.notify_all();
        } else {
            self.queue.changed.notify_one();
        }
        self.wakers.iter().for_each(Waker::wake);
    }

    fn depth(&self) -> usize {
        self.depth
    }

    fn in_flight(&self) -> u64 {
        self.queue.in_flight.load(Ordering::Relaxed)
    }
}

impl Drop for DiskBacking {
    fn drop(&mut self) {
        if !self.process.is_current() {
            // Forked from the process that has the threads: they neither end here nor let go of the lock.
            std::mem::forget(std::mem::take(&mut self.threads));
            return;
        }
        lock(&self.queue.state).stopped = true;
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A ticket's callback may be what lets go of the store, on a reading thread: that one ends by
            // itself. One that panicked has said so; its fetches have failed.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

/// Ends all work when a thread panics, rather than leave others waiting for it.
struct StopOnPanic<'a>(&'a Queue);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut state = lock(&self.0.state);
            state.stopped = true;
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            waiting.into_iter().for_each(PendingReads::abort);
            self.0.changed.notify_all();
        }
    }
}

impl Queue {
    /// Takes up to `room` reads; waits for some if `idle`, and lets `waker` wake the thread if there are
    /// fewer. False at the end of all work.
    fn take(
        &self,
        room: usize,
        idle: bool,
        waker: Option<&Waker>,
        taken: &mut Vec<PendingRead>,
    ) -> bool {
        // Dropped once the lock is not held: that may end a fetch, whose listener runs then.
        let mut finished = Vec::new();
        let mut state = lock(&self.state);
        loop {
            while taken.len() < room
                && let Some(reads) = state.waiting.front_mut()
            {
                match reads.take_next() {
                    Some(read) => taken.push(read),
                    None => finished.extend(state.waiting.pop_front()),
                }
            }
            if !taken.is_empty() || !idle {
                // While nothing can be added.
                waker
                    .into_iter()
                    .for_each(|waker| waker.listen(taken.len() < room));
                return true;
            }
            if !finished.is_empty() {
                drop(state);
                finished.clear();
                state = lock(&self.state);
                continue;
            }
            if state.stopped {
                return false;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// One thread at work.
struct Reader<'a> {
    engine: Box<dyn ReadEngine>,
    waker: Option<Waker>,
    files: &'a Arc<[DirectFile]>,
    max_bytes: usize,
    /// What is read in each slot of the engine.
    slots: Vec<Option<PendingRead>>,
}

impl<'a> Reader<'a> {
    fn new(engine: Box<dyn ReadEngine>, files: &'a Arc<[DirectFile]>, max_bytes: usize) -> Self {
        Self {
            slots: (0..engine.depth()).map(|_| None).collect(),
            waker: engine.waker(),
            engine,
            files,
            max_bytes,
        }
    }

    fn run(&mut self, queue: &Queue) {
        let mut taken = Vec::with_capacity(TAKEN_AT_ONCE);
        loop {
            loop {
                let in_flight = self.engine.in_flight();
                let room = (self.engine.depth() - in_flight).min(TAKEN_AT_ONCE);
                if room > 0 && !queue.take(room, in_flight == 0, self.waker.as_ref(), &mut taken) {
                    return;
                }
                let no_more = taken.len() < TAKEN_AT_ONCE;
                for read in taken.drain(..) {
                    let slot = self.engine.begin(read.block());
                    self.slots[slot as usize] = Some(read);
                    queue.in_flight.fetch_add(1, Ordering::Relaxed);
                }
                if no_more {
                    break;
                }
            }
            let slots = &mut self.slots;
            let finished = self.engine.finish(&mut |slot, bytes| {
                let read = slots[slot as usize].take().expect("it was in flight");
                queue.in_flight.fetch_sub(1, Ordering::Relaxed);
                read.end(bytes);
            });
            if let Some(waker) = &self.waker {
                waker.listen(false);
            }
            if let Err(error) = finished {
                self.replace_engine(&error, queue);
            }
        }
    }

    /// Fails what is in flight on an engine that the system no longer serves, and goes on by `pread`.
    fn replace_engine(&mut self, error: &IoError, queue: &Queue) {
        tracing::warn!(%error, "the engine has failed; this thread goes on by pread");
        for read in self.slots.drain(..).flatten() {
            queue.in_flight.fetch_sub(1, Ordering::Relaxed);
            let cause = std::io::Error::other(error.to_string());
            read.end(Err(IoError::system(
                "read through an engine that has failed",
            )(cause)));
        }
        let engine = ThreadsEngine::new(self.files.clone(), self.max_bytes);
        self.engine = Box::new(engine.expect("memory for one read"));
        self.waker = None;
        self.slots.push(None);
    }
}
