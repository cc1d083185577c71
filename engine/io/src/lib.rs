//! Ways to read files at an offset, one read at a time or many, and to publish new files whole.
//!
//! Nothing here knows what the bytes mean.

mod direct;
mod error;
mod memory;
mod mmap;
mod pread;
mod prefetch;
mod publish;
mod queue;
mod read_at;
mod row_buffer;
mod words;

pub use direct::DirectFile;
pub use error::IoError;
pub use memory::MemoryReader;
pub use mmap::MmapReader;
pub use pread::PreadReader;
pub use prefetch::prefetch;
pub use publish::{NewFile, create_folder, publish_bytes, sync_entry};
pub use queue::{Bell, BlockRead, BlockingQueue, OnRead, QueueKind, ReadQueue, UringQueue};
pub use read_at::ReadAt;
pub use row_buffer::{FilledRows, RowBuffer, RowMemory};
pub use words::Words;
