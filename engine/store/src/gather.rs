//! Threads that copy rows which are in memory, and do what would keep a caller.

use std::{
    collections::VecDeque,
    fmt,
    num::NonZero,
    sync::{Arc, Mutex, OnceLock},
    thread,
};

use engram_io::{Process, lock};
use rayon_core::{ThreadPool, ThreadPoolBuilder};

use crate::priority::Priority;

/// Threads where the configuration does not say: they share the memory's bandwidth, of which one thread takes a
/// fourth to a tenth.
const MAX_DEFAULT_THREADS: usize = 4;

/// Threads that are started when they are first needed. Without them, callers do the work themselves.
pub(crate) struct GatherPool {
    /// None where the system grants no thread.
    pool: OnceLock<Option<ThreadPool>>,
    threads: usize,
    queue: Arc<Queue>,
    /// Where the threads are.
    process: Process,
}

type Work = Box<dyn FnOnce() + Send>;

/// What is to be done, by priority.
#[derive(Default)]
struct Queue(Mutex<[VecDeque<Work>; Priority::ALL.len()]>);

impl GatherPool {
    /// A pool of `threads` threads; as many as suit the machine if none are given.
    pub(crate) fn new(threads: Option<usize>) -> Self {
        let default = || {
            let cores = thread::available_parallelism().map_or(1, NonZero::get);
            cores.min(MAX_DEFAULT_THREADS)
        };
        Self {
            pool: OnceLock::new(),
            threads: threads.unwrap_or_else(default),
            queue: Arc::default(),
            process: Process::current(),
        }
    }

    /// Threads that work at the same time on what one caller wants.
    pub(crate) fn threads(&self) -> usize {
        self.threads.max(1)
    }

    /// Whether the system grants any, and this process was not forked from the one that has them.
    pub(crate) fn has_threads(&self) -> bool {
        self.pool().is_some()
    }

    /// Lets a thread of the pool do `work`, after all of a higher priority and what was asked for before; this thread
    /// at once if there is none.
    pub(crate) fn spawn(&self, priority: Priority, work: impl FnOnce() + Send + 'static) {
        let Some(pool) = self.pool() else {
            return work();
        };
        lock(&self.queue.0)[priority.index()].push_back(Box::new(work));
        let queue = self.queue.clone();
        // Whichever thread comes first does what is most urgent then, not what it was woken for.
        pool.spawn(move || queue.do_next());
    }

    /// Runs `work` on this thread and on `others` of the pool, as far as there are any, and waits for all.
    pub(crate) fn scope(&self, others: usize, work: &(impl Fn() + Sync)) {
        match self.pool() {
            Some(pool) => pool.in_place_scope(|scope| {
                (0..others).for_each(|_| scope.spawn(|_| work()));
                work();
            }),
            None => work(),
        }
    }

    fn pool(&self) -> Option<&ThreadPool> {
        if !self.process.is_current() {
            return None;
        }
        let pool = self.pool.get_or_init(|| start(self.threads));
        pool.as_ref()
    }
}

impl Drop for GatherPool {
    fn drop(&mut self) {
        if !self.process.is_current() {
            // Forked from the process that has the threads: they neither end here nor let go of a lock.
            std::mem::forget(self.pool.take());
        }
    }
}

impl Queue {
    fn do_next(&self) {
        let next = lock(&self.0).iter_mut().find_map(VecDeque::pop_front);
        if let Some(work) = next {
            work();
        }
    }
}

/// A pool of as many threads as the system grants, up to `threads`.
fn start(threads: usize) -> Option<ThreadPool> {
    (1..=threads).rev().find_map(|threads| {
        let builder = ThreadPoolBuilder::new().num_threads(threads);
        let builder = builder.thread_name(|index| format!("engram-gather-{index}"));
        // Whoever waits for the work learns of it by what was left undone.
        let builder = builder.panic_handler(|_| tracing::error!("a gathering thread has panicked"));
        let refused = |error| tracing::warn!(%error, threads, "threads that gather are refused");
        builder.build().map_err(refused).ok()
    })
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
        let spawn = |priority, name| {
            let told = told.clone();
            pool.spawn(priority, move || told.send(name).unwrap());
        };
        // Holds the only thread up until all have been asked for.
        pool.spawn(Priority::Warm, move || gate.recv().unwrap());
        spawn(Priority::Warm, "warm");
        spawn(Priority::Prefill, "first prompt");
        spawn(Priority::Prefill, "second prompt");
        spawn(Priority::Decode, "token");
        open.send(()).unwrap();
        drop(pool);
        let order: Vec<_> = (0..4).map(|_| done.recv().unwrap()).collect();
        assert_eq!(order, ["token", "first prompt", "second prompt", "warm"]);
    }

    #[test]
    fn without_threads_the_caller_does_the_work() {
        let pool = GatherPool::new(Some(0));
        let (told, done) = mpsc::channel();
        pool.spawn(Priority::Decode, move || {
            told.send(thread::current().id()).unwrap()
        });
        assert_eq!(done.try_recv(), Ok(thread::current().id()));
        let count = Mutex::new(0);
        pool.scope(3, &|| *count.lock().unwrap() += 1);
        assert_eq!(count.into_inner().unwrap(), 1);
    }
}
