//! Ways to read files at an offset, one read at a time or many, and to publish new files whole.
//!
//! Nothing here knows what the bytes mean. [`Io`] gives access to files: a [`ReadAt`] copies bytes out of one, one
//! read at a time from any thread; a [`ReadEngine`] has many reads of many files in flight for the thread that owns it.

mod answers;
mod batch_thread;
mod direct_file;
mod engine;
mod error;
mod event_fd;
#[cfg(feature = "fault")]
mod fault;
mod file_lock;
mod free_space;
mod holes;
mod io;
mod limits;
mod lock;
pub mod parallel;
mod prefetch;
mod process;
mod progress;
mod publish;
mod read_at;
mod row_buffer;
mod shared_memory;
mod watched_file;
mod whole_file;

pub use batch_thread::become_batch_thread;
pub use direct_file::DirectFile;
#[cfg(feature = "fault")]
pub use engine::FaultEngine;
pub use engine::{
    BlockRead, EngineKind, EngineRequest, OnRead, ReadEngine, ThreadsEngine, UringEngine, Waker,
};
pub use error::IoError;
pub use event_fd::EventFd;
#[cfg(feature = "fault")]
pub use fault::{Fault, FaultPlan, FaultRule};
pub use file_lock::{FileLock, is_named};
pub use free_space::{NoRoom, find_no_room, free_space};
pub use holes::holes;
#[cfg(feature = "fault")]
pub use io::FaultIo;
pub use io::{Access, Io, SystemIo};
pub use limits::Limit;
pub use lock::lock;
pub use prefetch::prefetch;
pub use process::Process;
pub use publish::{NewFile, create_folder, publish_bytes, sync_entry};
#[cfg(feature = "fault")]
pub use read_at::FaultReader;
pub use read_at::{MemoryReader, MmapReader, PreadReader, ReadAt};
pub use row_buffer::{BufferMemory, FilledRows, RowBuffer};
pub use shared_memory::SharedWords;
pub use watched_file::{FileChange, WatchedFile};
pub use whole_file::{check_is_file, read_file};
