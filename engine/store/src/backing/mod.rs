//! Where the rows that no tier has are fetched from.

mod backed;
mod completion;
mod disk;
mod fetch;
mod fetch_pool;
mod plan;
mod receiver;

use std::{fmt, path::PathBuf, sync::Arc};

use engram_io::IoError;

pub(crate) use backed::Backed;
pub(crate) use completion::Listener;
pub(crate) use disk::{DiskBacking, DiskOptions};
pub(crate) use fetch::{Destination, Fetch};
pub use fetch::{PendingRead, PendingReads};
pub(crate) use fetch_pool::FetchPool;
pub use plan::ReadGeometry;
pub(crate) use receiver::Receiver;

/// Storage that answers later: where rows are fetched from that no [`Tier`](crate::Tier) has.
///
/// It moves bytes and knows nothing of rows. Each read that it ends is checked by the store: the seal of
/// every row, before any of its bytes reach a caller.
pub trait Backing: fmt::Debug + Send + Sync {
    /// Which reads it takes.
    fn geometry(&self) -> &ReadGeometry;

    /// Begins the reads, and returns without waiting for them. Each must be ended by
    /// [`PendingRead::end`]; those that are dropped fail.
    fn fetch(&self, reads: PendingReads);

    /// Reads that can be in flight at a time.
    fn depth(&self) -> usize;

    /// Reads that are in flight now.
    fn in_flight(&self) -> u64;
}

/// Opens a [`Backing`] for the files of a pack.
pub trait OpenBacking: fmt::Debug + Send + Sync {
    /// A backing whose file `n` is `files[n]`, for reads of up to `longest_row` bytes and more.
    ///
    /// # Errors
    /// Files that it does not have.
    fn open(&self, files: &[PathBuf], longest_row: usize) -> Result<Arc<dyn Backing>, IoError>;
}
