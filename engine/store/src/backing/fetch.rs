//! Rows on their way from a backing.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use engram_format::{RowCodec, RowId};
use engram_io::{BlockRead, IoError, RowBuffer, lock};

use super::{
    completion::{Completion, Listener},
    plan::{Plan, Read},
    receiver::Receiver,
};
use crate::{
    buffer_pool::{Buffer, BufferPool},
    error::LookupError,
    gather::GatherPool,
    metrics::add,
    output::ValueType,
    priority::Priority,
    resolve::RowRef,
    tier::Admit,
};

/// The rows of one batch on their way. Everybody who works on it holds a part of it; when no part is left,
/// the rows are there.
#[derive(Debug, Default)]
pub(crate) struct Fetch {
    /// Set once, before the first read begins.
    work: OnceLock<Work>,
    /// When a ticket was asked for; none where nobody could ask how long it took.
    pub(crate) began: Option<Instant>,
    /// Nanoseconds from then until the last part ended.
    took_ns: AtomicU64,
    completion: Arc<Completion>,
    /// Shared with cancellers of this fetch, and of none that follows it in the same memory.
    cancelled: Arc<AtomicBool>,
    failure: Mutex<Option<Failure>>,
}

/// What is read, and where to.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) plan: Plan,
    /// None where no row is fetched.
    pub(crate) receiver: Option<Arc<Receiver>>,
    pub(crate) destination: Destination,
    pub(crate) priority: Priority,
    /// How the cache takes the rows.
    pub(crate) admit: Admit,
    /// Who frees it, where that takes a while.
    pub(crate) freed_by: Option<Arc<GatherPool>>,
}

/// Where the rows of a fetch are put.
#[derive(Debug, Default)]
pub(crate) enum Destination {
    #[default]
    Nowhere,
    /// Each different row once, at its place in the plan's sorted list.
    Staging(RowBuffer),
    /// The bytes of each row at its place in the batch.
    Bytes(RowBuffer, Arc<dyn BufferPool>),
    /// The values of each row at its place in the batch.
    Values {
        values: RowBuffer,
        pool: Arc<dyn BufferPool>,
        value_type: ValueType,
        codec: RowCodec,
        /// Where rows of two parts are put together.
        staging: Option<RowBuffer>,
    },
}

impl Destination {
    /// The caller's buffer, and what the rows were put together in.
    pub(crate) fn into_buffer(self) -> (Option<Buffer>, Option<RowBuffer>) {
        match self {
            Self::Nowhere => (None, None),
            Self::Staging(staging) => (None, Some(staging)),
            Self::Bytes(rows, pool) => (Some(Buffer::new(rows, pool)), None),
            Self::Values {
                values,
                pool,
                value_type,
                staging,
                ..
            } => {
                let buffer = Buffer::new(values, pool).of_values(value_type);
                (Some(buffer), staging)
            }
        }
    }
}

/// Cancels the batch of a [`Ticket`](crate::Ticket) that somebody else has, and may be waiting for.
#[derive(Debug, Clone)]
pub struct Canceller(Arc<AtomicBool>);

impl Canceller {
    /// Takes back the reads that have not begun. When those in flight have ended, the ticket is done: with
    /// [`LookupError::Cancelled`], or with its rows if all had begun.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What went wrong, and for which rows.
#[derive(Debug)]
struct Failure {
    first: LookupError,
    unread: Vec<RowId>,
}

/// The reads of a fetch that have not begun. Dropping it before all are taken fails the fetch.
#[derive(Debug)]
pub struct PendingReads {
    part: Part,
    next: usize,
    /// The first read of the fetch that is not among them.
    end: usize,
}

/// One read of a fetch. Dropping it without [`Self::end`] fails the fetch.
#[derive(Debug)]
pub struct PendingRead {
    part: Part,
    index: usize,
    ended: bool,
}

/// Parts of a fetch that have not ended.
#[derive(Debug)]
pub(crate) struct Part {
    fetch: Option<Arc<Fetch>>,
    count: usize,
}

impl Work {
    /// Forgets everything but the memory of the plan; a caller's buffer returns to its pool.
    fn clear(&mut self) {
        drop(std::mem::take(&mut self.destination).into_buffer());
        self.plan.clear();
        self.receiver = None;
        self.priority = Priority::default();
        self.admit = Admit::default();
        self.freed_by = None;
    }
}

impl Work {
    /// The bytes of a part of `row` among those of `read`, once their seal is checked.
    fn open<'a>(
        &self,
        receiver: &Receiver,
        read: &Read,
        row: &RowRef,
        bytes: &'a [u8],
    ) -> Result<&'a [u8], LookupError> {
        let extent = receiver.source.extent(row, read.part.into());
        let start = usize::try_from(extent.offset - read.block.offset);
        let start = start.expect("the row lies in the read");
        let record = bytes.get(start..start + extent.len).ok_or_else(|| {
            let cause = IoError::Ended {
                path: receiver.source.paths[extent.file as usize].clone(),
                offset: read.block.offset,
                needed: read.block.needed as usize,
                found: bytes.len(),
            };
            receiver.source.unread(Vec::new(), cause)
        })?;
        let (bytes, stored) = receiver.source.open_record(row, read.part.into(), record)?;
        if let Some(cache) = &receiver.cache {
            cache.offer(row, self.admit, bytes, stored);
        }
        Ok(bytes)
    }

    /// Puts a part of the row that has the places `equal` of the sorted list to where it is wanted.
    fn put(&self, equal: &Range<usize>, part: usize, bytes: &[u8]) {
        let copy = |out: &mut [u8]| out.copy_from_slice(bytes);
        let wanted = || self.plan.rows[equal.clone()].iter();
        match &self.destination {
            Destination::Nowhere => unreachable!("a fetch with reads has a destination"),
            Destination::Staging(buffer) => buffer.fill(equal.start, part, copy),
            Destination::Bytes(buffer, _) => {
                for row in wanted() {
                    buffer.fill(row.index as usize, part, copy);
                }
            }
            Destination::Values {
                values,
                value_type,
                codec,
                staging,
                ..
            } => {
                let whole = match staging {
                    Some(staging) => staging.fill_and_finish(equal.start, part, copy),
                    None => Some(bytes),
                };
                let Some(whole) = whole else { return };
                for row in wanted() {
                    values.fill_row(row.index as usize, |out| {
                        value_type.decode_into(*codec, whole, out);
                    });
                }
            }
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Fetch {
    /// Begins `fetch`, which is not done until the part is over.
    pub(crate) fn begin(fetch: &Arc<Self>) -> Part {
        fetch.completion.begin(1);
        Part {
            fetch: Some(fetch.clone()),
            count: 1,
        }
    }

    /// A fetch that was taken from the pool and not begun, and the memory of its work.
    pub(crate) fn prepare(fetch: &mut Arc<Self>) -> (&mut Self, Work) {
        let fetch = Self::unshared(fetch);
        let work = fetch.work.take().unwrap_or_default();
        (fetch, work)
    }

    /// A fetch that nobody else has.
    fn unshared(fetch: &mut Arc<Self>) -> &mut Self {
        Arc::get_mut(fetch).expect("nobody else has it before it begins, or when it has ended")
    }

    /// Says what is to be done.
    pub(crate) fn set_work(&self, work: Work) {
        self.work.set(work).expect("a fetch has one work");
    }

    /// What is to be done, once that is known.
    fn work(&self) -> &Work {
        self.work.get().expect("set before the first read begins")
    }

    /// Where the rows of a fetch that has ended are; nowhere if it failed before that was known.
    pub(crate) fn take_destination(&mut self) -> Destination {
        let work = self.work.get_mut();
        work.map_or(Destination::Nowhere, |work| {
            std::mem::take(&mut work.destination)
        })
    }

    /// The rows that were fetched, sorted.
    pub(crate) fn rows(&self) -> &[RowRef] {
        self.work.get().map_or(&[], |work| &work.plan.rows)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// What is not begun is not read; the caller wants nothing more.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// What cancels it, for others than its caller.
    pub(crate) fn canceller(&self) -> Canceller {
        Canceller(self.cancelled.clone())
    }

    /// Notes that a part has ended now.
    pub(crate) fn note_time(&self) {
        if let Some(began) = self.began {
            let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.took_ns.fetch_max(took, Ordering::Relaxed);
        }
    }

    /// From the beginning until the last part that has ended so far.
    pub(crate) fn took(&self) -> Duration {
        Duration::from_nanos(self.took_ns.load(Ordering::Relaxed))
    }

    pub(crate) fn is_done(&self) -> bool {
        self.completion.is_done()
    }

    /// Tells `listener` once the rows are there, or will not come.
    pub(crate) fn listen(&self, listener: Listener) {
        self.completion.listen(listener);
    }

    /// Checks the file and the rows of a read, offers them to the cache, and copies each to its places.
    fn arrive(&self, read: &Read, bytes: Result<&[u8], IoError>) {
        let work = self.work();
        let receiver = work.receiver.as_ref().expect("there are reads");
        let rows = read.rows();
        add(&receiver.counters.reads, 1);
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(cause) => {
                let unread: Vec<RowId> =
                    work.plan.rows[rows].iter().map(|row| row.row_id).collect();
                self.fail(receiver.source.unread(Vec::new(), cause), &unread);
                return;
            }
        };
        add(&receiver.counters.bytes_read, bytes.len() as u64);
        if let Err(error) = receiver.source.check_file(read.block.file) {
            self.fail(error, &[]);
            return;
        }
        let mut used = 0;
        let mut place = rows.start;
        for equal in work.plan.rows[rows].chunk_by(|a, b| a.row_id == b.row_id) {
            let range = place..place + equal.len();
            place = range.end;
            match work.open(receiver, read, &equal[0], bytes) {
                Ok(row) => {
                    used += row.len() as u64;
                    work.put(&range, read.part.into(), row);
                }
                Err(error @ LookupError::Unread { .. }) => self.fail(error, &[equal[0].row_id]),
                Err(error) => self.fail(error, &[]),
            }
        }
        add(&receiver.counters.bytes_used, used);
    }

    /// Why reads were dropped.
    pub(crate) fn why_dropped(&self) -> LookupError {
        if self.is_cancelled() {
            LookupError::Cancelled
        } else {
            LookupError::ReadDropped
        }
    }

    pub(crate) fn fail(&self, error: LookupError, unread: &[RowId]) {
        let mut failure = lock(&self.failure);
        let failure = failure.get_or_insert_with(|| Failure {
            first: error,
            unread: Vec::new(),
        });
        failure.unread.extend_from_slice(unread);
    }

    /// Waits until nobody else works on `fetch`.
    pub(crate) fn wait(fetch: &mut Arc<Self>) -> &mut Self {
        fetch.completion.wait();
        Self::unshared(fetch)
    }

    /// As [`Self::wait`], for a caller whose time is counted.
    pub(crate) fn wait_counted(fetch: &mut Arc<Self>) -> &mut Self {
        fetch.wait_timeout_counted(Duration::MAX);
        Self::wait(fetch)
    }

    /// Waits until nobody else works on it, for `timeout` at most, and counts that. Whether it is done.
    pub(crate) fn wait_timeout_counted(&self, timeout: Duration) -> bool {
        if self.is_done() {
            return true;
        }
        let start = Instant::now();
        let is_done = self.completion.wait_timeout(timeout);
        if let Some(work) = self.work.get()
            && let Some(receiver) = &work.receiver
        {
            (receiver.counters).add_waited(work.priority, start.elapsed());
        }
        is_done
    }

    /// Whether all rows have come.
    ///
    /// # Errors
    /// The first failure; if rows could not be read, with all of them.
    pub(crate) fn result(&mut self) -> Result<(), LookupError> {
        let failure = self.failure.get_mut();
        let failure = failure.unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(mut failure) = failure.take() else {
            return Ok(());
        };
        if let LookupError::Unread { rows, .. } = &mut failure.first {
            failure.unread.sort_unstable();
            failure.unread.dedup();
            *rows = failure.unread;
        }
        Err(failure.first)
    }

    /// Forgets everything but the memory of the plan; a caller's buffer returns to its pool.
    pub(crate) fn clear(&mut self) {
        if let Some(work) = self.work.get_mut() {
            work.clear();
        }
        self.began = None;
        *self.took_ns.get_mut() = 0;
        match Arc::get_mut(&mut self.cancelled) {
            Some(cancelled) => *cancelled.get_mut() = false,
            // Somebody may still cancel what this was.
            None => self.cancelled = Arc::default(),
        }
        *lock(&self.failure) = None;
    }

    /// Rows that it keeps memory for.
    pub(crate) fn kept_rows(&self) -> usize {
        self.work.get().map_or(0, |work| work.plan.rows.capacity())
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        if let Some(mut work) = self.work.take()
            && let Some(pool) = work.freed_by.take()
        {
            pool.spawn(Priority::Prefill, move || drop(work));
        }
    }
}

impl PendingReads {
    /// Whether others should go first.
    pub fn priority(&self) -> Priority {
        self.part.fetch().work().priority
    }

    /// Reads that have not been taken.
    pub fn len(&self) -> usize {
        self.end - self.next
    }

    /// Whether no read is left to take.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the next read; none if there is no more, or the caller wants nothing more.
    pub fn take_next(&mut self) -> Option<PendingRead> {
        if self.is_empty() || self.part.fetch().is_cancelled() {
            return None;
        }
        let index = self.next;
        self.next += 1;
        Some(PendingRead {
            part: self.part.split_one(),
            index,
            ended: false,
        })
    }

    /// Takes out the reads from the first one on whose block does not `stay`; all after it do not either.
    pub(crate) fn split_off(&mut self, stay: impl Fn(&BlockRead) -> bool) -> Self {
        let reads = &self.part.fetch().work().plan.reads[self.next..self.end];
        let first = self.next + reads.partition_point(|read| stay(&read.block));
        let end = std::mem::replace(&mut self.end, first);
        Self {
            part: self.part.split_place(end - first),
            next: first,
            end,
        }
    }

    /// Gives up reads that will not be done, because the thread that should do them has panicked.
    pub(crate) fn abort(self) {
        self.part.fetch().fail(LookupError::Aborted, &[]);
    }
}

impl Drop for PendingReads {
    fn drop(&mut self) {
        let fetch = self.part.fetch();
        if !self.is_empty() {
            fetch.fail(fetch.why_dropped(), &[]);
        }
    }
}

impl PendingRead {
    /// As [`PendingReads::priority`].
    pub fn priority(&self) -> Priority {
        self.part.fetch().work().priority
    }

    /// What to read.
    pub fn block(&self) -> BlockRead {
        self.part.fetch().work().plan.reads[self.index].block
    }

    /// Ends the read with its bytes, at least those needed, or with the reason why there are none.
    pub fn end(mut self, bytes: Result<&[u8], IoError>) {
        self.ended = true;
        let fetch = self.part.fetch();
        fetch.arrive(&fetch.work().plan.reads[self.index], bytes);
    }
}

impl Drop for PendingRead {
    fn drop(&mut self) {
        if !self.ended {
            self.part.fetch().fail(LookupError::ReadDropped, &[]);
        }
    }
}

impl Part {
    /// The reads of the fetch's work, to be begun by a backing.
    pub(crate) fn into_reads(mut self) -> PendingReads {
        let count = self.fetch().work().plan.reads.len();
        self.fetch().completion.add(count);
        self.count += count;
        PendingReads {
            part: self,
            next: 0,
            end: count,
        }
    }

    /// Takes out the parts of `reads` reads, with a place of their own in a queue.
    fn split_place(&mut self, reads: usize) -> Self {
        debug_assert!(self.count > reads, "the place in the queue is a part too");
        self.fetch().completion.add(1);
        self.count -= reads;
        Self {
            fetch: self.fetch.clone(),
            count: reads + 1,
        }
    }

    /// Takes a part of one read out.
    fn split_one(&mut self) -> Self {
        debug_assert!(self.count > 1, "the place in the queue is a part too");
        self.count -= 1;
        Self {
            fetch: self.fetch.clone(),
            count: 1,
        }
    }

    pub(crate) fn fetch(&self) -> &Fetch {
        self.fetch.as_ref().expect("held until dropped")
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(fetch) = self.fetch.take() {
            let completion = fetch.completion.clone();
            if std::thread::panicking() {
                fetch.fail(LookupError::Aborted, &[]);
            }
            fetch.note_time();
            // Let go before saying so: who waits for the completion takes the fetch apart.
            drop(fetch);
            completion.end(self.count);
        }
    }
}
