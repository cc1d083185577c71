//! Threads that copy rows which are in memory, and do what would keep a caller.

mod queue;

use std::{
    fmt,
    num::NonZero,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    thread,
};

use engram_io::{Process, become_batch_thread};

use crate::priority::Priority;
use queue::Queue;

/// Most threads where the configuration does not say: they share the memory's bandwidth, of which one thread takes a
/// fourth to a tenth.
const MAX_DEFAULT_THREADS: usize = 4;
/// Of the cores, so many are left to callers and reading threads while large batches are planned.
const CORES_LEFT: usize = 1;

/// Threads that are there from the beginning, since starting one takes longer than a caller should be kept. Without
/// them, callers do the work themselves.
pub(crate) struct GatherPool {
    /// Threads that gather for one caller who waits, its own among them.
    scoped: usize,
    /// Threads of the pool, as many as the system has granted.
    threads: usize,
    queue: Arc<Queue<Work>>,
    /// Where the threads are.
    process: Process,
}

type Work = Box<dyn FnOnce() + Send>;

impl GatherPool {
    /// Starts `threads` threads; as many as suit the machine if none are given.
    pub(crate) fn new(threads: Option<usize>) -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let most = |cores: usize| cores.clamp(1, MAX_DEFAULT_THREADS);
        let queue = Arc::new(Queue::new());
        let wanted = 0..threads.unwrap_or(most(cores - CORES_LEFT));
        let granted = wanted.map_while(|index| start(&queue, index).ok());
        Self {
            scoped: threads.unwrap_or(most(cores)),
            threads: granted.count(),
            queue,
            process: Process::current(),
        }
    }

    /// Threads that gather for one caller who waits, its own among them. The others end with the call: those of the
    /// pool may be busy for longer than the caller would take alone.
    pub(crate) fn scoped(&self) -> usize {
        self.scoped.max(1)
    }

    /// Whether the system grants any, and this process was not forked from the one that has them.
    pub(crate) fn has_threads(&self) -> bool {
        self.threads > 0 && self.process.is_current()
    }

    /// Lets a thread of the pool do `work`, after all of a higher priority and what was asked for before; this thread
    /// at once if there is none.
    pub(crate) fn spawn(&self, priority: Priority, work: impl FnOnce() + Send + 'static) {
        if !self.has_threads() {
            return work();
        }
        self.queue.push(priority, Box::new(work));
    }
}

impl Drop for GatherPool {
    fn drop(&mut self) {
        // In a process that was forked from the one that has the threads there is nobody to tell, and the lock may be
        // held for ever.
        if self.process.is_current() {
            self.queue.stop();
        }
    }
}

/// Starts a thread that does what is asked for, until the queue is stopped and there is nothing left.
fn start(queue: &Arc<Queue<Work>>, index: usize) -> std::io::Result<()> {
    let queue = queue.clone();
    let builder = thread::Builder::new().name(format!("engram-gather-{index}"));
    let run = move || {
        become_batch_thread();
        while let Some(work) = queue.next() {
            // Whoever waits for the work learns of a panic by what was left undone.
            if panic::catch_unwind(AssertUnwindSafe(work)).is_err() {
                tracing::error!("a gathering thread has panicked");
            }
        }
    };
    let refused = |error: &std::io::Error| {
        tracing::warn!(%error, granted = index, "gathering by fewer threads than asked for");
    };
    builder.spawn(run).inspect_err(refused).map(drop)
}

impl fmt::Debug for GatherPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatherPool")
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_is_urgent_is_done_first_and_the_rest_in_order() {
        let pool = GatherPool::new(Some(1));
        let (told, done) = mpsc::channel();
        let (open, gate) = mpsc::channel::<()>();
        let (began, begun) = mpsc::channel();
        let spawn = |priority, name| {
            let told = told.clone();
            pool.spawn(priority, move || told.send(name).unwrap());
        };
        // Holds the only thread up until all have been asked for, and is no reason for it to end.
        pool.spawn(Priority::Warm, move || {
            began.send(()).unwrap();
            gate.recv().unwrap();
            panic!("this is meant to happen");
        });
        begun.recv().unwrap();
        spawn(Priority::Warm, "warm");
        spawn(Priority::Prefill, "first prompt");
        spawn(Priority::Prefill, "second prompt");
        spawn(Priority::Decode, "token");
        open.send(()).unwrap();
        // What was asked for is done all the same.
        drop(pool);
        let order: Vec<_> = (0..4).map(|_| done.recv().unwrap()).collect();
        assert_eq!(order, ["token", "first prompt", "second prompt", "warm"]);
    }

    #[test]
    fn without_threads_the_caller_does_the_work() {
        let pool = GatherPool::new(Some(0));
        let (told, done) = mpsc::channel();
        pool.spawn(Priority::Decode, move || {
            told.send(thread::current().id()).unwrap();
        });
        assert_eq!(done.try_recv(), Ok(thread::current().id()));
        assert_eq!(pool.scoped(), 1);
    }
}
