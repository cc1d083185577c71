//! Batches in flight.

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use engram_io::{FilledRows, RowBuffer};

use crate::{
    error::LookupError,
    fetch::{Fetch, Pool},
};

/// Where memory for rows comes from and returns to: a store's pool, or a caller's own, for example one that a device
/// can read.
pub trait BufferHome: fmt::Debug + Send + Sync {
    /// Takes memory back that nothing fills any more. Called once for each [`Buffer`], by whichever thread lets go of
    /// it last, one that reads included: it should not block.
    fn take_back(&self, rows: RowBuffer);
}

/// Rows at a fixed address, `[token][column][row bytes]`, which return to where they came from when dropped: page-aligned
/// ones to the store's pool, others to their [`BufferHome`].
pub struct Buffer {
    rows: Option<FilledRows>,
    home: Arc<dyn BufferHome>,
    took: Option<Duration>,
}

impl Buffer {
    /// A buffer of the caller's, to be filled by [`Store::submit`](crate::Store::submit): as long as the rows that
    /// `rows` was last reset to.
    pub fn new(rows: RowBuffer, home: Arc<dyn BufferHome>) -> Self {
        Self {
            rows: Some(rows.into()),
            home,
            took: None,
        }
    }

    /// From the submission of the ticket that filled it until its last row was there; none before that.
    pub fn took(&self) -> Option<Duration> {
        self.took
    }

    pub(crate) fn into_parts(mut self) -> (RowBuffer, Arc<dyn BufferHome>) {
        let rows = self.rows.take().expect("held until dropped");
        (rows.into(), self.home.clone())
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.rows.as_ref().expect("held until dropped")
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(rows) = self.rows.take() {
            self.home.take_back(rows.into());
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("bytes", &self.len())
            .finish_non_exhaustive()
    }
}

/// A batch whose rows are on their way.
///
/// Dropping it lets go of the batch: what has not been read is not read, and its buffer returns home when
/// the rest is done.
#[derive(Debug)]
pub struct Ticket {
    fetch: Option<Arc<Fetch>>,
    pool: Arc<Pool>,
}

impl Ticket {
    pub(crate) fn new(fetch: Arc<Fetch>, pool: Arc<Pool>) -> Self {
        Self {
            fetch: Some(fetch),
            pool,
        }
    }

    pub(crate) fn fetch(&self) -> &Arc<Fetch> {
        self.fetch.as_ref().expect("held until waited for")
    }

    /// Whether [`Self::wait`] would return at once.
    pub fn is_done(&self) -> bool {
        self.fetch
            .as_ref()
            .is_none_or(|fetch| fetch.event.is_done())
    }

    /// Waits until all rows are there.
    ///
    /// # Errors
    /// Rows that could not be read, or a damaged record. The buffer has returned home then.
    #[expect(
        clippy::missing_panics_doc,
        reason = "a ticket holds its fetch until here"
    )]
    pub fn wait(mut self) -> Result<Buffer, LookupError> {
        let _span = tracing::trace_span!("wait").entered();
        let mut fetch = self.fetch.take().expect("held until waited for");
        let filled = Fetch::finish(&mut fetch);
        let (result, took) = (filled.take_result(), filled.took());
        let home = filled.home.clone().expect("whoever asked said so");
        self.pool.put_fetch(fetch);
        result.map(|rows| {
            let mut buffer = Buffer::new(rows, home);
            buffer.took = Some(took);
            buffer
        })
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

    /// Lets go of the batch, as dropping it does: for speculative tokens that were rejected.
    pub fn cancel(self) {}
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(fetch) = self.fetch.take() {
            fetch.cancel();
        }
    }
}
