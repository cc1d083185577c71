//! Rows on their way from the drive: a plan of reads, the threads that carry it out, and the ticket
//! that waits for it.

mod disk;
mod event;
mod plan;
mod pool;
mod workers;

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use engram_format::RowId;
use engram_io::{IoError, RowBuffer};

use crate::{error::LookupError, metrics::add, ticket::BufferHome};
pub(crate) use disk::{DiskRows, DiskSource, WARM_LIVES};
pub(crate) use event::Event;
pub(crate) use plan::{Plan, Want};
pub(crate) use pool::Pool;
pub(crate) use workers::{WorkerKind, Workers};

/// The reads of one batch. Everybody who works on it holds an [`Outstanding`] part of it; when none is
/// left, the rows are there.
#[derive(Debug, Default)]
pub(crate) struct Fetch {
    pub(crate) plan: Plan,
    pub(crate) event: Arc<Event>,
    /// None where all rows were in memory.
    pub(crate) rows: Option<Arc<DiskRows>>,
    /// What is filled.
    pub(crate) buffer: Option<RowBuffer>,
    /// Where the buffer goes if nobody waits for it.
    pub(crate) home: Option<Arc<dyn BufferHome>>,
    /// How the cache takes the rows.
    pub(crate) intake: Intake,
    /// When a ticket was asked for; none where nobody could ask how long it took.
    pub(crate) began: Option<Instant>,
    /// Nanoseconds from then until the last part ended.
    took_ns: AtomicU64,
    cancelled: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

/// How rows that were read get into the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Intake {
    /// Where their columns' rows are worth keeping.
    #[default]
    Offer,
    /// In any case.
    Warm,
    /// Where they drive out no other, with so many lives.
    Seed(u64),
}

/// What went wrong, and for which rows.
#[derive(Debug)]
struct Failure {
    first: LookupError,
    unread: Vec<RowId>,
}

/// A part of a fetch that is not done, whatever happens to who holds it.
#[derive(Debug)]
pub(crate) struct Outstanding {
    fetch: Option<Arc<Fetch>>,
    parts: usize,
}

impl Fetch {
    /// The rows, to be filled by whoever has them.
    pub(crate) fn buffer(&self) -> &RowBuffer {
        self.buffer.as_ref().expect("there until the end")
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// A part has ended.
    pub(crate) fn part_ended(&self) {
        if let Some(began) = self.began {
            let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.took_ns.fetch_max(took, Ordering::Relaxed);
        }
    }

    /// From the beginning until the last part that has ended so far.
    pub(crate) fn took(&self) -> Duration {
        Duration::from_nanos(self.took_ns.load(Ordering::Relaxed))
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Copies the rows of one read to where they are wanted, each checked.
    fn arrived(&self, read: usize, bytes: Result<&[u8], IoError>) {
        let rows = self.rows.as_ref().expect("there are reads");
        let read = &self.plan.reads[read];
        let wants = &self.plan.wants[read.wants()];
        add(&rows.counters.reads, 1);
        match bytes {
            Ok(bytes) => {
                add(&rows.counters.bytes_read, bytes.len() as u64);
                let mut used = 0;
                let (mut last, mut last_row) = (None, None);
                for want in wants
                    .iter()
                    .filter(|want| last.replace(want.slot) != Some(want.slot))
                {
                    let place = rows.place(want.row, read.part.into());
                    let start = usize::try_from(place.offset - read.block.offset);
                    let start = start.expect("it lies in the read");
                    let record = &bytes[start..start + place.len];
                    let part = read.part.into();
                    let filled = self.buffer().fill(want.slot as usize, part, |out| {
                        if last_row.replace(want.row) != Some(want.row) {
                            used += out.len() as u64;
                        }
                        rows.check_out(want.row, &place, record, self.intake, out)
                    });
                    if let Err(damage) = filled {
                        self.fail(damage, &[]);
                    }
                }
                add(&rows.counters.bytes_used, used);
            }
            Err(source) => {
                let unread: Vec<RowId> = wants.iter().map(|want| want.row).collect();
                let layer = rows.layer;
                self.fail(
                    LookupError::Unread {
                        layer,
                        rows: Vec::new(),
                        source,
                    },
                    &unread,
                );
            }
        }
    }

    fn fail(&self, error: LookupError, unread: &[RowId]) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = failure.get_or_insert_with(|| Failure {
            first: error,
            unread: Vec::new(),
        });
        failure.unread.extend_from_slice(unread);
    }

    /// Waits until nobody else works on `fetch`.
    pub(crate) fn wait(fetch: &mut Arc<Self>) -> &mut Self {
        fetch.event.wait();
        Arc::get_mut(fetch).expect("everybody who worked on it has let go of it")
    }

    /// As [`Self::wait`], for a caller whose time counts.
    pub(crate) fn finish(fetch: &mut Arc<Self>) -> &mut Self {
        if !fetch.event.is_done() {
            let start = Instant::now();
            fetch.event.wait();
            if let Some(rows) = &fetch.rows {
                let waited = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
                add(&rows.counters.waited_ns, waited);
            }
        }
        Self::wait(fetch)
    }

    /// The buffer, or the first error with all rows that could not be read.
    pub(crate) fn take_result(&mut self) -> Result<RowBuffer, LookupError> {
        let failure = self
            .failure
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(mut failure) = failure.take() else {
            return Ok(self.buffer.take().expect("there until the end"));
        };
        if let LookupError::Unread { rows, .. } = &mut failure.first {
            failure.unread.sort_unstable();
            failure.unread.dedup();
            *rows = failure.unread;
        }
        Err(failure.first)
    }

    /// Forgets everything but the memory of the plan; the buffer goes home.
    fn clear(&mut self) {
        self.plan.clear();
        self.rows = None;
        self.intake = Intake::default();
        self.began = None;
        *self.took_ns.get_mut() = 0;
        // The pool is a home, and would keep a fetch that keeps it for ever.
        if let (Some(home), Some(buffer)) = (self.home.take(), self.buffer.take()) {
            home.take_back(buffer);
        }
        *self.cancelled.get_mut() = false;
        *self
            .failure
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Outstanding {
    /// All of `fetch`: its reads, and its place in the queue.
    pub(crate) fn all(fetch: &Arc<Fetch>) -> Self {
        let parts = fetch.plan.reads.len() + 1;
        fetch.event.begin(parts);
        Self {
            fetch: Some(fetch.clone()),
            parts,
        }
    }

    /// Takes `count` reads out.
    fn split(&mut self, count: usize) -> Self {
        debug_assert!(count < self.parts);
        self.parts -= count;
        Self {
            fetch: self.fetch.clone(),
            parts: count,
        }
    }

    fn fetch(&self) -> &Fetch {
        self.fetch.as_ref().expect("held until dropped")
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        if let Some(fetch) = self.fetch.take() {
            let event = fetch.event.clone();
            if std::thread::panicking() {
                fetch.fail(LookupError::Aborted, &[]);
            }
            fetch.part_ended();
            // Let go before saying so: who waits for the event takes the fetch apart.
            drop(fetch);
            event.done(self.parts);
        }
    }
}

impl plan::Read {
    fn wants(&self) -> Range<usize> {
        self.first_want as usize..self.first_want as usize + self.want_count as usize
    }
}
