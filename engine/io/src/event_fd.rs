//! A file that becomes readable when something has happened.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

use crate::IoError;

/// A Linux `eventfd`: signalled by one thread, waited for by `poll`, `epoll` or a ring.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// A file that has not been signalled.
    ///
    /// # Errors
    /// A process that may open no more files.
    pub fn new() -> Result<Self, IoError> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let event = event.map_err(|e| IoError::os("make", "an eventfd")(e.into()))?;
        Ok(Self(event))
    }

    /// Another handle of the same file.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn try_clone(&self) -> Result<Self, IoError> {
        let clone = self.0.try_clone();
        clone
            .map(Self)
            .map_err(IoError::os("duplicate", "an eventfd"))
    }

    /// Makes the file readable. Never blocks.
    pub fn signal(&self) {
        #[expect(clippy::host_endian_bytes, reason = "the kernel reads a number")]
        let once = 1_u64.to_ne_bytes();
        // It fails only where the count of an eventfd that nobody reads would pass 2^64.
        let _ = rustix::io::write(&self.0, &once);
    }

    /// Makes it unreadable until it is signalled again.
    pub fn reset(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<EventFd> for OwnedFd {
    fn from(event: EventFd) -> Self {
        event.0
    }
}
