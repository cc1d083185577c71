//! Waking a thread that waits for its reads.

use std::{
    os::fd::{AsFd, AsRawFd, RawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{EventFd, IoError};

/// Wakes the thread that waits in an engine's [`finish`](super::ReadEngine::finish), if it listens.
#[derive(Debug, Clone)]
pub struct Waker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    event: EventFd,
    listening: AtomicBool,
}

impl Waker {
    pub(super) fn new() -> Result<Self, IoError> {
        Ok(Self(Arc::new(Inner {
            event: EventFd::new()?,
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
            self.0.event.signal();
        }
    }

    /// Forgets that it was woken.
    pub(super) fn reset(&self) {
        self.0.event.reset();
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.0.event.as_fd().as_raw_fd()
    }
}
