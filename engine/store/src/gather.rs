//! Threads that copy rows which are in memory, and do what would keep a caller.

use std::{fmt, num::NonZero, sync::OnceLock, thread};

use rayon_core::{ThreadPool, ThreadPoolBuilder};

/// Threads where the configuration does not say: they share the memory's bandwidth, of which one thread takes a
/// fourth to a tenth.
const MAX_DEFAULT_THREADS: usize = 4;

/// Threads that are started when they are first needed. Without them, callers do the work themselves.
pub(crate) struct GatherPool {
    /// None where the system grants no thread.
    pool: OnceLock<Option<ThreadPool>>,
    threads: usize,
}

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
        }
    }

    /// Threads that work at the same time on what one caller wants.
    pub(crate) fn threads(&self) -> usize {
        self.threads.max(1)
    }

    /// Runs `work` on a thread of the pool, after what was given to it before.
    pub(crate) fn spawn(&self, work: impl FnOnce() + Send + 'static) {
        match self.pool() {
            Some(pool) => pool.spawn_fifo(work),
            None => work(),
        }
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
        let pool = self.pool.get_or_init(|| start(self.threads));
        pool.as_ref()
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
