//! Many reads in flight from one thread.

#[cfg(feature = "fault")]
mod fault;
mod threads;
mod uring;
mod waker;

use std::fmt;

use crate::{DirectFile, IoError};

#[cfg(feature = "fault")]
pub use fault::FaultEngine;
pub use threads::ThreadsEngine;
pub use uring::UringEngine;
pub use waker::Waker;

/// One read of whole units of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRead {
    /// Index of the file among those of the engine.
    pub file: u32,
    /// Offset in bytes, a multiple of the file's [`unit`](DirectFile::unit).
    pub offset: u64,
    /// Bytes, a multiple of the unit and at most a slot's.
    pub len: u32,
    /// Bytes that must come for the read to succeed. Those after them may lie beyond the end of the file.
    pub needed: u32,
}

/// Takes the slot of a read that has ended, and its bytes: at least those needed, at most those asked for.
pub type OnRead<'a> = &'a mut dyn FnMut(u32, Result<&[u8], IoError>);

/// Reads in flight, owned by the thread that made the engine.
///
/// Each read in flight has a slot: a number below the engine's depth, and a buffer of the engine that the system
/// writes to.
pub trait ReadEngine {
    /// How reads get to the drive.
    fn kind(&self) -> EngineKind;

    /// Slots: reads that can be in flight at a time.
    fn depth(&self) -> usize;

    /// Reads in flight.
    fn in_flight(&self) -> usize;

    /// Begins a read and returns its slot. The system may hear of the read only in [`Self::finish`].
    ///
    /// # Panics
    /// If all slots are taken, or the read does not fit one or is not aligned.
    fn begin(&mut self, read: BlockRead) -> u32;

    /// What ends a wait in [`Self::finish`] before a read has ended. None if the engine cannot be woken because each of
    /// its reads is a system call that waits.
    fn waker(&self) -> Option<Waker> {
        None
    }

    /// If any read is in flight, waits until one has ended or the waker was used, and calls `done` for each that has
    /// ended. It may return before any has. A slot can be used again when `done` has returned.
    ///
    /// # Errors
    /// An engine that the system no longer serves; the error of a single read goes to `done`.
    fn finish(&mut self, done: OnRead<'_>) -> Result<(), IoError>;

    /// Lets `plan` replace what the system answers to this engine. No effect on one that makes no system calls.
    #[cfg(feature = "fault")]
    fn inject(&mut self, _plan: &crate::FaultPlan) {}
}

/// The engine that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineRequest {
    /// A [`UringEngine`].
    Uring {
        /// Reads in flight at most.
        depth: u16,
    },
    /// A [`ThreadsEngine`].
    Threads,
}

/// How reads get to the drive: the engine that the system granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// Through a ring of requests shared with the kernel.
    Uring {
        /// Whether the slots' buffers are registered, so that the kernel need not look them up for each read.
        registered_buffers: bool,
        /// Whether the kernel finishes reads only when the thread asks for them, instead of interrupting it.
        deferred: bool,
    },
    /// By system calls that wait, one at a time in each thread.
    Threads,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads => f.write_str("pread"),
            Self::Uring {
                registered_buffers,
                deferred,
            } => {
                f.write_str("io_uring")?;
                if *registered_buffers {
                    f.write_str(", registered buffers")?;
                }
                if *deferred {
                    f.write_str(", deferred completions")?;
                }
                Ok(())
            }
        }
    }
}

/// Checks a read against its engine.
fn check(read: &BlockRead, files: &[DirectFile], slot_bytes: usize) {
    let unit = files[read.file as usize].unit();
    assert!(
        read.needed <= read.len && read.len as usize <= slot_bytes,
        "{read:?} does not fit a slot of {slot_bytes} bytes"
    );
    assert!(
        read.offset.is_multiple_of(unit.into()) && read.len.is_multiple_of(unit),
        "{read:?} is not aligned to {unit}"
    );
}
