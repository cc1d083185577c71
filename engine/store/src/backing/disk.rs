//! Files read past the page cache, by threads with many reads in flight.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use engram_io::{
    DirectFile, EngineKind, EngineRequest, Io, IoError, Process, ReadEngine, Waker, lock,
};

use super::{Backing, PendingRead, PendingReads, ReadGeometry, read_queue::ReadQueue};

/// Reads that a thread takes at a time, so that others get some.
const TAKEN_AT_ONCE: usize = 64;

/// How a [`DiskBacking`] reads.
#[derive(Debug)]
pub(crate) struct DiskOptions {
    pub(crate) io: Arc<dyn Io>,
    pub(crate) request: EngineRequest,
    /// Threads, each with an engine of its own.
    pub(crate) threads: usize,
    /// Threads with one read in flight each that go on where engines of many fail.
    pub(crate) blocking_threads: usize,
    /// Most bytes of one read.
    pub(crate) max_bytes: usize,
}

/// Threads that read until this is dropped; then they finish what was asked for.
#[derive(Debug)]
pub(crate) struct DiskBacking {
    crew: Arc<Crew>,
    /// Of the threads that wait for several reads at a time.
    wakers: Vec<Waker>,
    kind: EngineKind,
    geometry: ReadGeometry,
    /// Reads that all threads have in flight at most.
    depth: usize,
    /// Where the threads are.
    process: Process,
}

/// The reading threads, and what they share.
#[derive(Debug)]
struct Crew {
    queue: ReadQueue<PendingReads>,
    options: DiskOptions,
    files: Arc<[DirectFile]>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Threads whose engine the system has granted; the others have ended.
    readers: AtomicUsize,
    /// Engines of many reads that have failed.
    failed: AtomicUsize,
}

/// What a thread says of its engine when it starts to read.
type Report = Result<(EngineKind, usize, Option<Waker>), IoError>;

impl DiskBacking {
    /// Starts the threads.
    ///
    /// # Errors
    /// A system that refuses every thread, or the engine to each of them.
    pub(crate) fn start(options: DiskOptions, files: &Arc<[DirectFile]>) -> Result<Self, IoError> {
        let (threads, request) = (options.threads, options.request);
        let mut backing = Self {
            wakers: Vec::new(),
            kind: EngineKind::Threads,
            geometry: ReadGeometry {
                units: files.iter().map(DirectFile::unit).collect(),
                max_bytes: options.max_bytes,
            },
            depth: 0,
            process: Process::current(),
            crew: Arc::new(Crew {
                queue: ReadQueue::default(),
                options,
                files: files.clone(),
                threads: Mutex::default(),
                readers: AtomicUsize::new(0),
                failed: AtomicUsize::new(0),
            }),
        };
        let (report, reports) = mpsc::channel();
        for index in 0..threads {
            match backing.crew.spawn(index, request, report.clone()) {
                Ok(()) => {}
                // As many threads as are granted: one is enough.
                Err(error) if index > 0 => {
                    tracing::warn!(%error, granted = index, "reading by fewer threads than asked for");
                    break;
                }
                Err(cause) => return Err(IoError::no_thread("reads")(cause)),
            }
        }
        drop(report);
        let (mut granted, mut refused) = (0, None);
        for report in reports {
            match report {
                Ok((kind, depth, waker)) => {
                    backing.kind = kind;
                    backing.depth += depth;
                    backing.wakers.extend(waker);
                    granted += 1;
                }
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if granted == 0 => return Err(error),
            Some(error) => {
                tracing::warn!(%error, granted, "reading by fewer threads than asked for");
            }
            None if granted == 0 => {
                let cause = std::io::Error::other("it ended before it could read");
                return Err(IoError::no_thread("reads")(cause));
            }
            None => {}
        }
        Ok(backing)
    }

    /// How reads get to the drive now.
    pub(crate) fn kind(&self) -> EngineKind {
        if self.crew.failed.load(Ordering::Relaxed) > 0 {
            EngineKind::Threads
        } else {
            self.kind
        }
    }

    /// Threads that read now; 0 in a process that was forked from the one that has them.
    pub(crate) fn threads(&self) -> usize {
        if self.process.is_current() {
            self.crew.readers.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    /// Whether all files are read past the page cache now.
    pub(crate) fn past_page_cache(&self) -> bool {
        self.crew.files.iter().all(DirectFile::is_direct)
    }
}

impl Crew {
    /// Starts a thread that reads by the engine of `request`, and reports that or why it cannot.
    ///
    /// # Errors
    /// A system that grants no more threads.
    fn spawn(
        self: &Arc<Self>,
        index: usize,
        request: EngineRequest,
        report: mpsc::Sender<Report>,
    ) -> std::io::Result<()> {
        let crew = self.clone();
        let run = move || {
            let _guard = StopOnPanic(&crew.queue);
            // An engine belongs to the thread that made it.
            match crew.engine(request) {
                Ok(engine) => {
                    crew.readers.fetch_add(1, Ordering::Relaxed);
                    let _ = report.send(Ok((engine.kind(), engine.depth(), engine.waker())));
                    drop(report);
                    Reader::new(engine, &crew).run(&crew.queue);
                }
                Err(error) => drop(report.send(Err(error))),
            }
        };
        let builder = thread::Builder::new().name(format!("engram-io-{index}"));
        // With the lock held, so that `drop` waits for every thread that is started before it takes them.
        let mut threads = lock(&self.threads);
        threads.push(builder.spawn(run)?);
        Ok(())
    }

    fn engine(&self, request: EngineRequest) -> Result<Box<dyn ReadEngine>, IoError> {
        let options = &self.options;
        options.io.engine(request, &self.files, options.max_bytes)
    }

    /// Starts as many threads with one read in flight each as there would have been without the engine that has
    /// failed, or as the system grants. The threads of failed engines are of them.
    fn replace_engines(self: &Arc<Self>) {
        if self.failed.fetch_add(1, Ordering::Relaxed) > 0 {
            return;
        }
        let (report, _) = mpsc::channel();
        for index in self.options.threads..self.options.blocking_threads {
            let stopped = self.queue.is_stopped();
            if stopped
                || self
                    .spawn(index, EngineRequest::Threads, report.clone())
                    .is_err()
            {
                return;
            }
        }
    }
}

impl Backing for DiskBacking {
    fn geometry(&self) -> &ReadGeometry {
        &self.geometry
    }

    fn fetch(&self, reads: PendingReads) {
        let (priority, several) = (reads.priority(), reads.len() > 1);
        match self.crew.queue.push(priority, reads, several) {
            Ok(()) => self.wakers.iter().for_each(Waker::wake),
            Err(reads) => reads.abort(),
        }
    }

    fn depth(&self) -> usize {
        self.depth
    }

    fn in_flight(&self) -> u64 {
        self.crew.queue.in_flight().iter().sum::<usize>() as u64
    }
}

impl Drop for DiskBacking {
    fn drop(&mut self) {
        if !self.process.is_current() {
            // Forked from the process that has the threads: they neither end here nor let go of a lock.
            std::mem::forget(self.crew.clone());
            return;
        }
        self.crew.queue.stop();
        let threads = std::mem::take(&mut *lock(&self.crew.threads));
        for thread in threads {
            // A ticket's callback may be what lets go of the store, on a reading thread: that one ends by
            // itself. One that panicked has said so; its fetches have failed.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

/// Ends all work when a thread panics, rather than leave others waiting for it.
pub(crate) struct StopOnPanic<'a>(pub(crate) &'a ReadQueue<PendingReads>);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let waiting = self.0.abort();
            waiting.into_iter().for_each(PendingReads::abort);
        }
    }
}

/// One thread at work.
struct Reader<'a> {
    engine: Box<dyn ReadEngine>,
    waker: Option<Waker>,
    crew: &'a Arc<Crew>,
    /// What is read in each slot of the engine.
    slots: Vec<Option<PendingRead>>,
}

impl<'a> Reader<'a> {
    fn new(engine: Box<dyn ReadEngine>, crew: &'a Arc<Crew>) -> Self {
        Self {
            slots: (0..engine.depth()).map(|_| None).collect(),
            waker: engine.waker(),
            engine,
            crew,
        }
    }

    fn run(&mut self, queue: &ReadQueue<PendingReads>) {
        let mut taken = Vec::with_capacity(TAKEN_AT_ONCE);
        loop {
            loop {
                let in_flight = self.engine.in_flight();
                let room = (self.engine.depth() - in_flight).min(TAKEN_AT_ONCE);
                let listen = |listens| self.waker.iter().for_each(|waker| waker.listen(listens));
                if room > 0 && !queue.take(room, in_flight == 0, listen, &mut taken) {
                    return;
                }
                let no_more = taken.len() < TAKEN_AT_ONCE;
                for read in taken.drain(..) {
                    let slot = self.engine.begin(read.block());
                    self.slots[slot as usize] = Some(read);
                }
                if no_more {
                    break;
                }
            }
            let slots = &mut self.slots;
            let finished = self.engine.finish(&mut |slot, bytes| {
                let read = slots[slot as usize].take().expect("it was in flight");
                queue.end(read.priority());
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

    /// Goes on by `pread`, with other threads, where the system no longer serves the engine. What was in flight is read
    /// again.
    fn replace_engine(&mut self, error: &IoError, queue: &ReadQueue<PendingReads>) {
        tracing::warn!(%error, "the engine has failed; reading by threads");
        self.crew.replace_engines();
        let engine = self.crew.engine(EngineRequest::Threads);
        self.engine = engine.expect("memory for one read");
        self.waker = None;
        for read in self.slots.drain(..).flatten() {
            self.engine.begin(read.block());
            let mut unread = Some(read);
            while self.engine.in_flight() > 0 {
                let finished = self.engine.finish(&mut |_, bytes| {
                    let read = unread.take().expect("it was in flight");
                    queue.end(read.priority());
                    read.end(bytes);
                });
                finished.expect("an engine of single reads does not fail");
            }
        }
        self.slots.push(None);
    }
}
