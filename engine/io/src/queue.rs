//! Many reads in flight from one thread.

mod bell;
mod threads;
mod uring;

use std::{fmt, io, sync::Arc};

use crate::{DirectFile, IoError};

pub use bell::Bell;
pub use threads::BlockingQueue;
pub use uring::UringQueue;

/// One read of whole units of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRead {
    /// Index of the file among those of the queue.
    pub file: u32,
    /// Offset, a multiple of the file's [`unit`](DirectFile::unit).
    pub offset: u64,
    /// Bytes, a multiple of the unit and at most a slot's.
    pub len: u32,
    /// Bytes that must come; the file may end after them.
    pub needed: u32,
}

/// Takes the slot and the bytes of a read that has ended.
pub type OnRead<'a> = &'a mut dyn FnMut(u32, Result<&[u8], IoError>);

/// Reads in flight, owned by one thread. Each has a slot, whose bytes the queue owns.
pub trait ReadQueue {
    /// Reads that can be in flight at a time.
    fn depth(&self) -> usize;

    /// Reads in flight.
    fn in_flight(&self) -> usize;

    /// Begins a read and returns its slot; it may be on its way only after [`Self::finish`].
    ///
    /// # Panics
    /// If all slots are taken, or the read does not fit one.
    fn begin(&mut self, read: BlockRead) -> u32;

    /// What ends a wait in [`Self::finish`] before a read has ended; none where reads are waited for one
    /// by one.
    fn bell(&self) -> Option<Bell> {
        None
    }

    /// Waits until a read has ended or the bell has rung, if any is in flight, and calls `done` with the
    /// slot and the bytes (at least those needed) of each that has. A slot is free again when `done` returns.
    ///
    /// # Errors
    /// A queue that the system no longer serves; errors of single reads go to `done`.
    fn finish(&mut self, done: OnRead<'_>) -> Result<(), IoError>;
}

/// How reads get to the drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueKind {
    /// A ring of requests shared with the kernel.
    Uring {
        /// Whether slots are registered, so that the kernel need not look them up for each read.
        registered_buffers: bool,
        /// Whether completions wait for the thread that asks for them.
        deferred: bool,
    },
    /// System calls that wait, one at a time in each thread.
    Blocking,
}

impl fmt::Display for QueueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocking => f.write_str("pread"),
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

/// How often a read is tried again that was interrupted or came short.
const RETRIES: u8 = 16;

/// What is left of a read after parts of it have come.
#[derive(Debug, Clone, Copy)]
struct Progress {
    read: BlockRead,
    done: u32,
    tries: u8,
}

/// What to do after the system's answer.
#[derive(Debug)]
enum Step {
    /// All that was needed is there.
    Ended,
    /// Ask for the rest.
    Again,
    /// It will not come.
    Failed(IoError),
}

impl Progress {
    fn new(read: BlockRead) -> Self {
        Self {
            read,
            done: 0,
            tries: 0,
        }
    }

    /// Takes the system's answer to a request for the rest.
    fn advance(&mut self, answer: io::Result<u32>, file: &DirectFile) -> Step {
        let failed = match answer {
            Ok(0) => io::ErrorKind::UnexpectedEof.into(),
            Ok(bytes) => {
                self.done += bytes;
                if self.done >= self.read.needed {
                    return Step::Ended;
                }
                // The next request must be aligned again.
                self.done -= self.done % file.unit();
                io::ErrorKind::UnexpectedEof.into()
            }
            Err(e) if is_transient(&e) => e,
            Err(e) => return Step::Failed(IoError::os("read", file.path())(e)),
        };
        self.tries += 1;
        if self.tries < RETRIES {
            Step::Again
        } else {
            Step::Failed(IoError::os("read", file.path())(failed))
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

/// Checks a read against its queue.
fn check(read: &BlockRead, files: &Arc<[DirectFile]>, slot_bytes: usize) {
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

#[cfg(test)]
mod tests;
