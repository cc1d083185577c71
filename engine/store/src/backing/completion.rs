//! Waiting for the last of many parts.

#[cfg(not(loom))]
use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use std::{
    fmt,
    panic::{self, AssertUnwindSafe},
    sync::PoisonError,
    task::Waker,
    time::{Duration, Instant},
};

#[cfg(loom)]
use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Counts the parts of a fetch that have not ended, and tells whoever waits for none.
#[derive(Debug)]
pub(crate) struct Completion {
    pending: AtomicUsize,
    /// Set with the lock held, when everybody who is to be told has been taken from `listener`.
    done: AtomicBool,
    listener: Mutex<Option<Listener>>,
    changed: Condvar,
}

/// Whoever is told besides threads that wait.
pub(crate) enum Listener {
    Callback(Box<dyn FnOnce() + Send>),
    Task(Waker),
}

impl Listener {
    /// A panic of the caller's code ends here: other tickets are read by this thread too.
    pub(crate) fn tell(self) {
        let told = panic::catch_unwind(AssertUnwindSafe(|| match self {
            Self::Callback(callback) => callback(),
            Self::Task(waker) => waker.wake(),
        }));
        if told.is_err() {
            tracing::error!("a ticket's callback has panicked");
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Callback(_) => "Callback",
            Self::Task(_) => "Task",
        })
    }
}

impl Default for Completion {
    fn default() -> Self {
        Self {
            pending: AtomicUsize::new(0),
            done: AtomicBool::new(true),
            listener: Mutex::new(None),
            changed: Condvar::new(),
        }
    }
}

impl Completion {
    /// Begins with `parts` parts; those of before have ended.
    pub(crate) fn begin(&self, parts: usize) {
        self.pending.store(parts, Ordering::Relaxed);
        self.done.store(false, Ordering::Relaxed);
    }

    /// Adds `parts` parts to one that has not ended.
    pub(crate) fn add(&self, parts: usize) {
        self.pending.fetch_add(parts, Ordering::Relaxed);
    }

    /// Ends `parts` parts.
    pub(crate) fn end(&self, parts: usize) {
        if self.pending.fetch_sub(parts, Ordering::AcqRel) > parts {
            return;
        }
        // From when `done` is set, the next fetch may begin here and have a listener of its own.
        let mut listener = self.lock();
        let told = listener.take();
        self.done.store(true, Ordering::Release);
        drop(listener);
        self.changed.notify_all();
        if let Some(told) = told {
            told.tell();
        }
    }

    /// Whether no part is left.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Sleeps until no part is left.
    pub(crate) fn wait(&self) {
        if self.is_done() {
            return;
        }
        let mut guard = self.lock();
        while !self.is_done() {
            guard = self
                .changed
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// As [`Self::wait`], for `timeout` at most. Whether no part is left.
    pub(crate) fn wait_timeout(&self, timeout: Duration) -> bool {
        if self.is_done() {
            return true;
        }
        let Some(end) = Instant::now().checked_add(timeout) else {
            self.wait();
            return true;
        };
        let mut guard = self.lock();
        while !self.is_done() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.changed.wait_timeout(guard, left);
            guard = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Tells `listener` when no part is left: now, if that is so already. It takes the place of the one
    /// before.
    pub(crate) fn listen(&self, listener: Listener) {
        let mut held = self.lock();
        if self.is_done() {
            drop(held);
            listener.tell();
        } else {
            let replaced = held.replace(listener);
            drop(held);
            // Not with the lock held: it may be the last to hold a store, whose reading threads want the lock.
            drop(replaced);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Listener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::{
        sync::{Arc, atomic::AtomicUsize},
        thread,
    };

    use super::*;

    #[test]
    fn the_waiter_wakes_when_all_have_let_go() {
        loom::model(|| {
            let completion = Arc::new(Completion::default());
            let mut held = Arc::new(());
            completion.begin(2);
            for _ in 0..2 {
                let (completion, held) = (completion.clone(), held.clone());
                thread::spawn(move || {
                    drop(held);
                    completion.end(1);
                });
            }
            completion.wait();
            assert!(Arc::get_mut(&mut held).is_some(), "somebody still holds it");
        });
    }

    #[test]
    fn a_listener_is_told_once_whenever_it_comes() {
        loom::model(|| {
            let completion = Arc::new(Completion::default());
            let told = Arc::new(AtomicUsize::new(0));
            completion.begin(1);
            let ends = {
                let completion = completion.clone();
                thread::spawn(move || completion.end(1))
            };
            let count = told.clone();
            completion.listen(Listener::Callback(Box::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
            })));
            ends.join().unwrap();
            assert_eq!(told.load(Ordering::Relaxed), 1);
        });
    }

    #[test]
    fn a_listener_is_never_told_of_the_fetch_after_its_own() {
        loom::model(|| {
            let completion = Arc::new(Completion::default());
            let told = Arc::new(AtomicUsize::new(0));
            completion.begin(1);
            let count = told.clone();
            completion.listen(Listener::Callback(Box::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
            })));
            let first = {
                let completion = completion.clone();
                thread::spawn(move || completion.end(1))
            };
            completion.wait();
            // The same memory serves the next fetch, whose listener must not be told yet.
            completion.begin(1);
            let count = told.clone();
            completion.listen(Listener::Callback(Box::new(move || {
                count.fetch_add(10, Ordering::Relaxed);
            })));
            first.join().unwrap();
            assert_eq!(told.load(Ordering::Relaxed), 1);
            completion.end(1);
            assert_eq!(told.load(Ordering::Relaxed), 11);
        });
    }
}
