//! Lookups whose caller says how urgent they are.

use engram_format::{Batch, OwnedBatch};

use super::Store;
use crate::{
    buffer_pool::Buffer, error::LookupError, output::ValuesMut, priority::Priority, ticket::Ticket,
};

/// A store that is asked at a chosen [`Priority`], by [`Store::at`].
///
/// ```
/// use engram::{Batch, Config, LayerId, Priority, RowId, Store};
/// # let pack = concat!(env!("CARGO_MANIFEST_DIR"), "/../../format-spec/vectors/deepseek");
///
/// let store = Store::open(pack, Config::new())?;
/// // A piece of a long prompt, whose user waits for seconds anyway.
/// let row_ids = [RowId(0), RowId(7)];
/// let buffer = store.buffer(LayerId(1), row_ids.len())?;
/// let ticket = store.at(Priority::Prefill).submit(Batch::new(LayerId(1), &row_ids), buffer)?;
/// ticket.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct AtPriority<'a> {
    store: &'a Store,
    priority: Priority,
}

impl<'a> AtPriority<'a> {
    pub(super) fn new(store: &'a Store, priority: Priority) -> Self {
        Self { store, priority }
    }

    /// As [`Store::lookup`].
    ///
    /// # Errors
    /// As [`Store::lookup`].
    pub fn lookup(self, batch: Batch<'_>, out: &mut [u8]) -> Result<(), LookupError> {
        self.store.answer(batch, self.priority, None, out)
    }

    /// As [`Store::lookup_values`].
    ///
    /// # Errors
    /// As [`Store::lookup_values`].
    pub fn lookup_values<'b>(
        self,
        batch: Batch<'_>,
        out: impl Into<ValuesMut<'b>>,
    ) -> Result<(), LookupError> {
        let (value_type, out) = out.into().into_bytes();
        self.store
            .answer(batch, self.priority, Some(value_type), out)
    }

    /// As [`Store::submit`].
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn submit(self, batch: Batch<'_>, destination: Buffer) -> Result<Ticket, LookupError> {
        self.store.ask(batch, self.priority, destination)
    }

    /// As [`Store::submit_owned`].
    ///
    /// # Errors
    /// As [`Store::submit_owned`].
    pub fn submit_owned(
        self,
        batch: OwnedBatch,
        destination: Buffer,
    ) -> Result<Ticket, LookupError> {
        self.store.ask_owned(batch, self.priority, destination)
    }
}
