//! Waiting for the last of many.

use std::sync::PoisonError;
#[cfg(not(loom))]
use std::sync::{
    Condvar, Mutex,
    atomic::{AtomicUsize, Ordering},
};

#[cfg(loom)]
use loom::sync::{
    Condvar, Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// Counts what is left to do, and wakes who waits for none.
#[derive(Debug)]
pub(crate) struct Event {
    pending: AtomicUsize,
    lock: Mutex<()>,
    none_left: Condvar,
}

impl Default for Event {
    fn default() -> Self {
        Self {
            pending: AtomicUsize::new(0),
            lock: Mutex::new(()),
            none_left: Condvar::new(),
        }
    }
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

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::{sync::Arc, thread};

    use super::*;

    #[test]
    fn event_wakes_the_waiter_when_all_have_let_go() {
        loom::model(|| {
            let event = Arc::new(Event::default());
            let mut held = Arc::new(());
            event.begin(2);
            for _ in 0..2 {
                let (event, held) = (event.clone(), held.clone());
                thread::spawn(move || {
                    drop(held);
                    event.done(1);
                });
            }
            event.wait();
            assert!(Arc::get_mut(&mut held).is_some(), "somebody still holds it");
        });
    }
}
