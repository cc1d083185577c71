//! The one door to files: who holds an [`Io`] needs to know no implementation.

#[cfg(feature = "fault")]
mod fault;

use std::{fmt::Debug, path::Path, sync::Arc};

use crate::{
    DirectFile, EngineRequest, IoError, MemoryReader, MmapReader, PreadReader, ReadAt, ReadEngine,
    ThreadsEngine, UringEngine,
};

#[cfg(feature = "fault")]
pub use fault::FaultIo;

/// How a file is read by a [`ReadAt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Mapped into memory, for scattered reads.
    Mmap,
    /// A system call a read, for scattered reads.
    Pread,
    /// A system call a read, from front to back.
    Sequential,
    /// Loaded whole.
    Memory,
}

/// Opens files and makes engines. [`SystemIo`] is the real one; tests may use one whose reads fail.
pub trait Io: Debug + Send + Sync {
    /// Opens the file at `path` for reads one at a time.
    ///
    /// # Errors
    /// A file that cannot be opened, or not in this way.
    fn open(&self, path: &Path, access: Access) -> Result<Box<dyn ReadAt>, IoError>;

    /// Opens the file at `path` for the reads of an engine.
    ///
    /// # Errors
    /// A file that cannot be opened.
    fn open_direct(&self, path: &Path) -> Result<DirectFile, IoError>;

    /// Makes an engine for reads of up to `slot_bytes` bytes of `files`, to be used by the calling thread.
    ///
    /// # Errors
    /// An engine that the system refuses, or no memory.
    fn engine(
        &self,
        request: EngineRequest,
        files: &Arc<[DirectFile]>,
        slot_bytes: usize,
    ) -> Result<Box<dyn ReadEngine>, IoError>;
}

/// The files of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemIo;

impl Io for SystemIo {
    fn open(&self, path: &Path, access: Access) -> Result<Box<dyn ReadAt>, IoError> {
        Ok(match access {
            Access::Mmap => Box::new(MmapReader::open(path)?),
            Access::Pread => Box::new(PreadReader::open(path)?),
            Access::Sequential => Box::new(PreadReader::open_sequential(path)?),
            Access::Memory => Box::new(MemoryReader::open(path)?),
        })
    }

    fn open_direct(&self, path: &Path) -> Result<DirectFile, IoError> {
        DirectFile::open(path)
    }

    fn engine(
        &self,
        request: EngineRequest,
        files: &Arc<[DirectFile]>,
        slot_bytes: usize,
    ) -> Result<Box<dyn ReadEngine>, IoError> {
        let files = files.clone();
        Ok(match request {
            EngineRequest::Uring { depth } => Box::new(UringEngine::new(files, depth, slot_bytes)?),
            EngineRequest::Threads => Box::new(ThreadsEngine::new(files, slot_bytes)?),
        })
    }
}
