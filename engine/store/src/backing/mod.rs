//! Where the rows that no tier has are fetched from.

mod backed;
mod completion;
mod disk;
mod drives;
mod fetch;
mod fetch_pool;
mod plan;
mod read_queue;
mod receiver;
mod schedule;

use std::{fmt, path::PathBuf, sync::Arc};

use engram_io::IoError;

pub(crate) use backed::Backed;
pub(crate) use completion::Listener;
pub(crate) use disk::{DiskBacking, DiskOptions};
pub(crate) use drives::Drives;
pub use fetch::{Canceller, PendingRead, PendingReads};
pub(crate) use fetch::{Destination, Fetch, Part, Work};
pub(crate) use fetch_pool::FetchPool;
pub use plan::ReadGeometry;
pub(crate) use receiver::Receiver;
#[cfg(feature = "cold")]
pub(crate) use {disk::StopOnPanic, read_queue::ReadQueue};

/// Storage that answers later: where rows are fetched from that no [`Tier`](crate::Tier) has.
///
/// It moves bytes and knows nothing of rows. Where rows have seals, the store checks each of them before any
/// of its bytes reach a caller.
pub trait Backing: fmt::Debug + Send + Sync {
    /// Which reads it takes.
    fn geometry(&self) -> &ReadGeometry;

    /// Begins the reads, and returns without waiting for them. Each must be taken and ended by
    /// [`PendingRead::end`]; if any is dropped, the fetch fails.
    fn fetch(&self, reads: PendingReads);

    /// Reads that can be in flight at a time.
    fn depth(&self) -> usize;

    /// Reads that are in flight now.
    fn in_flight(&self) -> u64;
}

/// Opens a [`Backing`] for the files of a pack.
pub trait OpenBacking: fmt::Debug + Send + Sync {
    /// A backing whose file `n` is `files[n]`. Its [`ReadGeometry::max_bytes`] must have room for
    /// `longest_row` bytes, a row with its seal, and a unit.
    ///
    /// # Errors
    /// Files that it does not have.
    fn open(&self, files: &[PathBuf], longest_row: usize) -> Result<Arc<dyn Backing>, IoError>;
}
