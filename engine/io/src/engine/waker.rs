//! Waking a thread that waits for its reads.

use std::{
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::event::{EventfdFlags, eventfd};

use crate::IoError;

/// Wakes the thread that waits in an engine's [`finish`](super::ReadEngine::finish), if it listens.
#[derive(Debug, Clone)]
pub struct Waker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    event: OwnedFd,
    listening: AtomicBool,
}

impl Waker {
    pub(super) fn new() -> Result<Self, IoError> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let event = event.map_err(|e| IoError::system("make an eventfd")(e.into()))?;
        Ok(Self(Arc::new(Inner {
            event,
            listening: AtomicBool::new(false),
        })))
    }

    /// Says whether the engine's thread wants to be woken. A thread that says so before it unlocks the queue of its
    /// work misses nothing that is added afterwards.
    pub fn listen(&self, listening: bool) {
        self.0.listening.store(listening, Ordering::Relaxed);
    }

    /// Wakes the thread, if it listens; then it no longer does.
    pub fn wake(&self) {
        // Most often it does not, and then the cache line is only read.
        let listening = &self.0.listening;
        if listening.load(Ordering::Relaxed) && listening.swap(false, Ordering::Relaxed) {
            #[expect(clippy::host_endian_bytes, reason = "the kernel reads a number")]
            let once = 1_u64.to_ne_bytes();
            // It fails only where the count of an eventfd that nobody reads would pass 2^64.
            let _ = rustix::io::write(&self.0.event, &once);
        }
    }

    /// Forgets that it was woken.
    pub(super) fn reset(&self) {
        let _ = rustix::io::read(&self.0.event, &mut [0; 8]);
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.0.event.as_raw_fd()
    }
}
