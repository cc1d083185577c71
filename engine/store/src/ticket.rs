//! Batches in flight.

use std::{
    future::Future,
    mem,
    os::fd::OwnedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use engram_io::{EventFd, IoError};

use crate::{
    backing::{Canceller, Fetch, Listener},
    buffer_pool::{Buffer, BufferPool},
    error::LookupError,
    pools::Pools,
};

/// A batch whose rows are on their way.
///
/// A caller has four ways to learn that they are there: [`wait`](Self::wait) and
/// [`wait_timeout`](Self::wait_timeout) block, [`try_wait`](Self::try_wait) asks, [`eventfd`](Self::eventfd) and
/// [`on_done`](Self::on_done) tell an event loop, and a ticket is a [`Future`] that any executor can await.
///
/// Dropping it lets go of the batch: what has not been read is not read, and its buffer returns to its pool
/// when the reads in flight have ended.
#[derive(Debug)]
#[must_use = "dropping a ticket cancels its batch"]
pub struct Ticket {
    fetch: Option<Arc<Fetch>>,
    pools: Arc<Pools>,
    version: u64,
}

impl Ticket {
    pub(crate) fn new(fetch: Arc<Fetch>, pools: Arc<Pools>, version: u64) -> Self {
        Self {
            fetch: Some(fetch),
            pools,
            version,
        }
    }

    fn fetch(&self) -> &Arc<Fetch> {
        self.fetch.as_ref().expect("held until waited for")
    }

    /// The version of the rows that change, of which all of the batch come: that of the first
    /// [tier](crate::Config::tier) of the caller's that [tells one](crate::Tier::version), else 0.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether [`Self::wait`] would return at once.
    pub fn is_done(&self) -> bool {
        let fetch = self.fetch.as_ref();
        fetch.is_none_or(|fetch| fetch.is_done()) || self.check().is_err()
    }

    /// Waits until all rows are there.
    ///
    /// # Errors
    /// Rows that could not be read, or a damaged record; the buffer has returned to its pool then. A process that was
    /// forked from the one that opened the store, if that fetches rows or has not gathered all of them.
    pub fn wait(mut self) -> Result<Buffer, LookupError> {
        let _span = tracing::trace_span!("wait").entered();
        self.finish()
    }

    /// The rows, if all are there, else the ticket again.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn try_wait(self) -> Result<Result<Buffer, LookupError>, Self> {
        if self.is_done() {
            Ok(self.wait())
        } else {
            Err(self)
        }
    }

    /// As [`Self::wait`], for `timeout` at most: the ticket again if rows are missing then.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn wait_timeout(self, timeout: Duration) -> Result<Result<Buffer, LookupError>, Self> {
        if self.is_done() || self.fetch().wait_timeout_counted(timeout) {
            Ok(self.wait())
        } else {
            Err(self)
        }
    }

    /// Calls `callback` once all rows are there, or the batch has failed: at once if that is so already, else
    /// on the thread that brings the last of them. It holds up that thread's other work, so it must not
    /// block. It takes the place of one given before, of an event file, and of a task that awaits the ticket.
    /// A ticket that is dropped calls it too, when its last read has ended.
    pub fn on_done(&self, callback: impl FnOnce() + Send + 'static) {
        self.listen(Listener::Callback(Box::new(callback)));
    }

    /// An event file (`eventfd`) that becomes readable once all rows are there, or the batch has failed, for
    /// `epoll`, `asyncio` and the like. As [`Self::on_done`], it takes the place of what was given before.
    ///
    /// It is a duplicate of one that the library keeps until the ticket is done. `epoll` forgets a file only with its
    /// last duplicate, so take it out of the set before closing it.
    ///
    /// # Errors
    /// A process that may open no more files.
    pub fn eventfd(&self) -> Result<OwnedFd, IoError> {
        let event = EventFd::new()?;
        let readable = event.try_clone()?;
        self.on_done(move || event.signal());
        Ok(readable.into())
    }

    /// Lets go of the batch, as dropping it does: for speculative tokens that were rejected.
    pub fn cancel(self) {}

    /// What cancels the batch while this ticket is waited for elsewhere.
    pub fn canceller(&self) -> Canceller {
        self.fetch().canceller()
    }

    /// Checks that it is done, or being done, in the process that calls.
    fn check(&self) -> Result<(), LookupError> {
        match &self.fetch {
            Some(fetch) if !fetch.is_done() => self.pools.owner.check_work(),
            _ => self.pools.owner.check(),
        }
    }

    fn listen(&self, listener: Listener) {
        if self.check().is_err() {
            listener.tell();
        } else {
            self.fetch().listen(listener);
        }
    }

    fn finish(&mut self) -> Result<Buffer, LookupError> {
        self.check()?;
        let mut fetch = self.fetch.take().expect("held until waited for");
        let filled = Fetch::wait_counted(&mut fetch);
        let result = filled.result();
        let took = filled.took();
        let (buffer, staging) = filled.take_destination().into_buffer();
        staging
            .into_iter()
            .for_each(|staging| self.pools.buffers.recycle(staging));
        self.pools.fetches.put_back(fetch);
        result?;
        let mut buffer = buffer.expect("a ticket's fetch fills a buffer of the caller's");
        buffer.set_took(took);
        Ok(buffer)
    }
}

impl Future for Ticket {
    type Output = Result<Buffer, LookupError>;

    /// # Panics
    /// If it has been ready before.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.is_done() {
            self.listen(Listener::Task(context.waker().clone()));
            // It may have ended meanwhile, and told the waker already.
            if !self.is_done() {
                return Poll::Pending;
            }
        }
        Poll::Ready(self.finish())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let is_ours = self.check().is_ok();
        let Some(fetch) = self.fetch.take() else {
            return;
        };
        if is_ours {
            fetch.cancel();
        } else {
            // Threads of another process work on it: here nobody ever lets go of it.
            mem::forget(fetch);
        }
    }
}
