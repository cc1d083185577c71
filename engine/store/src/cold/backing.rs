//! Threads that read frames and decompress them.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use engram_cold::{ColdFile, FrameBuffer};
use engram_io::{BlockRead, IoError, Process, lock};

use super::{
    frame_cache::{Found, FrameCache, FrameId},
    read_shard, unread,
};
use crate::{
    backing::{Backing, PendingReads, ReadGeometry, ReadQueue, StopOnPanic},
    metrics::{FrameMetrics, add},
};

/// Most bytes of records that are asked for at a time: neighbours come together up to this.
const READ_BYTES: usize = 16 << 10;
/// Reads that a thread takes at a time. Neighbours are of one frame, which one thread then decompresses for all.
const TAKEN_AT_ONCE: usize = 4;
/// Threads, where the configuration does not say: a few for each core, of which some wait for the drive.
const THREADS_A_CORE: usize = 4;
const MOST_THREADS: usize = 64;

/// Threads that read until this is dropped; then they finish what was asked for.
#[derive(Debug)]
pub(crate) struct ColdBacking {
    crew: Arc<Crew>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    geometry: ReadGeometry,
    /// Where the threads are.
    process: Process,
}

#[derive(Debug)]
struct Crew {
    queue: ReadQueue<PendingReads>,
    files: Vec<ColdFile>,
    cache: FrameCache,
    running: AtomicUsize,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    reads: AtomicU64,
    bytes_read: AtomicU64,
    hits: AtomicU64,
}

impl ColdBacking {
    /// Starts `threads` threads, or as many as suit where that is 0.
    ///
    /// # Errors
    /// A system that refuses every thread.
    pub(super) fn start(
        files: Vec<ColdFile>,
        longest_row: usize,
        cache_bytes: usize,
        threads: usize,
    ) -> Result<Self, IoError> {
        let threads = match threads {
            0 => {
                let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
                (THREADS_A_CORE * cores).min(MOST_THREADS)
            }
            threads => threads,
        };
        let backing = Self {
            geometry: ReadGeometry {
                // Frames are in memory before records of them are asked for.
                units: vec![1; files.len()],
                max_bytes: READ_BYTES.max(longest_row + 1),
            },
            crew: Arc::new(Crew {
                queue: ReadQueue::default(),
                files,
                cache: FrameCache::new(cache_bytes),
                running: AtomicUsize::new(0),
                counts: Counts::default(),
            }),
            threads: Mutex::default(),
            process: Process::current(),
        };
        for index in 0..threads {
            let crew = backing.crew.clone();
            let builder = thread::Builder::new().name(format!("engram-cold-{index}"));
            let run = move || {
                let _guard = StopOnPanic(&crew.queue);
                crew.run();
            };
            match builder.spawn(run) {
                Ok(thread) => lock(&backing.threads).push(thread),
                // As many threads as are granted: one is enough.
                Err(error) if index > 0 => {
                    tracing::warn!(%error, granted = index, "reading by fewer threads than asked for");
                    break;
                }
                Err(cause) => return Err(IoError::no_thread("decompresses frames")(cause)),
            }
            backing.crew.running.fetch_add(1, Ordering::Relaxed);
        }
        Ok(backing)
    }

    /// Threads that read now; 0 in a process that was forked from the one that has them.
    pub(crate) fn threads(&self) -> usize {
        if self.process.is_current() {
            self.crew.running.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    /// What has been done with frames.
    pub(crate) fn metrics(&self) -> FrameMetrics {
        let counts = &self.crew.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        FrameMetrics {
            reads: read(&counts.reads),
            bytes_read: read(&counts.bytes_read),
            hits: read(&counts.hits),
            cache_bytes: self.crew.cache.most_bytes() as u64,
        }
    }
}

impl Backing for ColdBacking {
    fn geometry(&self) -> &ReadGeometry {
        &self.geometry
    }

    fn fetch(&self, reads: PendingReads) {
        let (priority, several) = (reads.priority(), reads.len() > 1);
        if let Err(reads) = self.crew.queue.push(priority, reads, several) {
            reads.abort();
        }
    }

    fn depth(&self) -> usize {
        self.crew.running.load(Ordering::Relaxed)
    }

    fn in_flight(&self) -> u64 {
        self.crew.queue.in_flight().iter().sum::<usize>() as u64
    }
}

impl Drop for ColdBacking {
    fn drop(&mut self) {
        if !self.process.is_current() {
            // Forked from the process that has the threads: they neither end here nor let go of a lock.
            std::mem::forget(self.crew.clone());
            return;
        }
        self.crew.queue.stop();
        for thread in lock(&self.threads).drain(..) {
            // A ticket's callback may be what lets go of the store, on one of these threads: that one ends by itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Crew {
    /// Does reads until the end of all work.
    fn run(&self) {
        let mut taken = Vec::with_capacity(TAKEN_AT_ONCE);
        let mut thread = Buffers::default();
        while self.queue.take(TAKEN_AT_ONCE, true, |_| (), &mut taken) {
            for read in taken.drain(..) {
                let result = self.read(&read.block(), &mut thread);
                self.queue.end(read.priority());
                read.end(result.map(|()| &thread.out[..]));
            }
            thread.last = None;
        }
    }

    /// Puts the bytes of the packed shard that `block` asks for to `buffers.out`.
    fn read(&self, block: &BlockRead, buffers: &mut Buffers) -> Result<(), IoError> {
        let Buffers {
            frame: buffer,
            records,
            out,
            last,
        } = buffers;
        let file = &self.files[block.file as usize];
        out.resize(block.needed as usize, 0);
        read_shard(file, block.offset, out, |frame, take| {
            let id = (block.file, frame);
            if let Some((_, records)) = last.as_ref().filter(|(last, _)| *last == id) {
                add(&self.counts.hits, 1);
                take(records);
                return Ok(());
            }
            let made = self.cache.get(id, || {
                file.read(frame, buffer, records).map_err(unread)?;
                add(&self.counts.reads, 1);
                let place = file.frames().index().place(frame);
                add(&self.counts.bytes_read, place.len.into());
                Ok::<_, IoError>(records.as_slice().into())
            });
            let (records, found) = made?;
            add(&self.counts.hits, u64::from(found == Found::Here));
            take(&records);
            *last = Some((id, records));
            Ok(())
        })
    }
}

/// What a thread reads with.
#[derive(Default)]
struct Buffers {
    frame: FrameBuffer,
    records: Vec<u8>,
    out: Vec<u8>,
    /// The frame of the read before, while there are others that may want it.
    last: Option<(FrameId, Arc<[u8]>)>,
}
