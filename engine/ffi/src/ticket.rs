//! Rows that come while the caller does something else.

use engram::{Store, Ticket, ValueType};

use crate::{
    destination::Destination, error_kind::ErrorKind, failure::Failure, lookup,
    sparse_batch::SparseBatch, target::Target,
};

/// A batch whose rows are on their way to memory that the caller has lent.
///
/// The memory is the caller's again when [`wait`](Self::wait) has returned or the ticket was dropped, which waits for
/// the reads in flight, some milliseconds.
#[derive(Debug)]
pub struct LentTicket {
    /// Until it is waited for or cancelled.
    ticket: Option<Ticket>,
    /// How that ended.
    outcome: Option<Result<(), Failure>>,
    destination: Destination,
}

impl LentTicket {
    /// Begins to read the rows of `batch` to `target`. A large batch is left to threads of the store.
    ///
    /// # Errors
    /// As [`Store::submit_owned`]; then all rows are zeros.
    pub fn submit(
        store: &Store,
        batch: &SparseBatch,
        value_type: Option<ValueType>,
        target: Target,
    ) -> Result<Self, Failure> {
        let mut destination = Destination::new(target, batch);
        let buffer = destination.buffer(store, batch, value_type)?;
        let ticket = lookup::submit(store, batch, buffer);
        if ticket.is_err() {
            destination.zero();
        }
        Ok(Self {
            ticket: Some(ticket?),
            outcome: None,
            destination,
        })
    }

    /// Waits until all rows are at their places. Waiting once more says the same.
    ///
    /// # Errors
    /// As [`Ticket::wait`]; then all rows are zeros. A ticket that was cancelled.
    pub fn wait(&mut self) -> Result<(), Failure> {
        if let Some(ticket) = self.ticket.take() {
            let filled = ticket.wait().map_err(Failure::from);
            self.outcome = Some(self.destination.finish(filled));
        }
        self.destination.wait_until_over();
        let ended_by_bug = || {
            Failure::new(
                ErrorKind::Panic,
                "waiting for the ticket was ended by a bug",
            )
        };
        self.outcome.clone().ok_or_else(ended_by_bug)?
    }

    /// Whether [`Self::wait`] would return at once.
    pub fn is_done(&self) -> bool {
        match &self.ticket {
            Some(ticket) => ticket.is_done(),
            None => self.destination.is_over(),
        }
    }

    /// Lets go of the rows: what has not been read is not read. Does nothing once it has been waited for.
    pub fn cancel(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            ticket.cancel();
            let cancelled = Failure::new(ErrorKind::Cancelled, "the ticket was cancelled");
            self.outcome = Some(Err(cancelled));
        }
    }

    /// The ticket, so that it can tell somebody when it is done.
    ///
    /// # Errors
    /// It has been waited for or cancelled.
    pub fn unfinished(&self) -> Result<&Ticket, Failure> {
        self.ticket.as_ref().ok_or_else(|| {
            let problem = "the ticket has been waited for or cancelled";
            Failure::new(ErrorKind::TicketEnded, problem)
        })
    }
}

impl Drop for LentTicket {
    fn drop(&mut self) {
        self.cancel();
        self.destination.wait_until_over();
    }
}
