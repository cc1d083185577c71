//! Ways to read files at an offset behind one trait, and to publish new files whole.
//!
//! Nothing here knows what the bytes mean.

mod error;
mod memory;
mod mmap;
mod pread;
mod prefetch;
mod publish;
mod read_at;

pub use error::IoError;
pub use memory::MemoryReader;
pub use mmap::MmapReader;
pub use pread::PreadReader;
pub use publish::{NewFile, create_folder, publish_bytes, sync_entry};
pub use read_at::ReadAt;
