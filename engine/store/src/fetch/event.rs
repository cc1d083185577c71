//! Waiting for the last of many.

use std::sync::{
    Condvar, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

/// Counts what is left to do, and wakes who waits for none.
#[derive(Debug, Default)]
pub(crate) struct Event {
    pending: AtomicUsize,
    lock: Mutex<()>,
    none_left: Condvar,
}

impl Event {
    /// Adds `count` things to do.
    pub(crate) fn begin(&self, count: usize) {
        self.pending.fetch_add(count, Ordering::Relaxed);
    }

    /// Takes `count` things off.
    pub(crate) fn done(&self, count: usize) {
        if self.pending.fetch_sub(count, Ordering::AcqRel) == count {
            // Held once, so that nobody is between looking and sleeping.
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.none_left.notify_all();
        }
    }

    /// Whether nothing is left.
    pub(crate) fn is_done(&self) -> bool {
        self.pending.load(Ordering::Acquire) == 0
    }

    /// Sleeps until nothing is left.
    pub(crate) fn wait(&self) {
        if self.is_done() {
            return;
        }
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_done() {
            guard = self
                .none_left
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}
