//! Work that waits for a thread, the most urgent first.

#[cfg(not(loom))]
use std::sync::{Condvar, Mutex, MutexGuard};
use std::{collections::VecDeque, sync::PoisonError};

#[cfg(loom)]
use loom::sync::{Condvar, Mutex, MutexGuard};

use crate::priority::Priority;

/// Pieces of work by priority, and the threads that wait for them.
pub(super) struct Queue<W> {
    state: Mutex<State<W>>,
    changed: Condvar,
}

struct State<W> {
    work: [VecDeque<W>; Priority::ALL.len()],
    stopped: bool,
}

impl<W> Queue<W> {
    pub(super) fn new() -> Self {
        let state = State {
            work: Priority::ALL.map(|_| VecDeque::new()),
            stopped: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Adds `work` behind what there is of its priority.
    pub(super) fn push(&self, priority: Priority, work: W) {
        self.lock().work[priority.index()].push_back(work);
        self.changed.notify_one();
    }

    /// Takes what is most urgent and has waited longest; waits for some. None once it is stopped and nothing is left.
    pub(super) fn next(&self) -> Option<W> {
        let mut state = self.lock();
        loop {
            let next = state.work.iter_mut().find_map(VecDeque::pop_front);
            if next.is_some() || state.stopped {
                return next;
            }
            let woken = self.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets threads end once nothing is left.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::{sync::Arc, thread};

    use super::*;

    /// For three threads, whose every order takes hours to try: those with up to three preemptions.
    fn few_preemptions() -> loom::model::Builder {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder
    }

    #[test]
    fn all_work_is_done_once_and_every_thread_ends() {
        few_preemptions().check(|| {
            let queue = Arc::new(Queue::new());
            let threads = [(); 2].map(|()| {
                let queue = queue.clone();
                thread::spawn(move || std::iter::from_fn(|| queue.next()).collect::<Vec<_>>())
            });
            queue.push(Priority::Warm, 1);
            queue.push(Priority::Decode, 2);
            queue.stop();
            let done = threads.map(|thread| thread.join().unwrap());
            let mut all = done.concat();
            all.sort_unstable();
            assert_eq!(all, [1, 2], "{done:?}");
        });
    }

    #[test]
    fn who_asks_after_the_most_urgent_was_added_has_that() {
        loom::model(|| {
            let queue = Arc::new(Queue::new());
            queue.push(Priority::Prefill, 1);
            let urgent = {
                let queue = queue.clone();
                thread::spawn(move || queue.push(Priority::Decode, 2))
            };
            let first = queue.next();
            urgent.join().unwrap();
            let second = queue.next();
            assert!([[Some(1), Some(2)], [Some(2), Some(1)]].contains(&[first, second]));
            queue.push(Priority::Prefill, 3);
            queue.push(Priority::Decode, 4);
            assert_eq!([queue.next(), queue.next()], [Some(4), Some(3)]);
        });
    }
}
