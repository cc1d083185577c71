//! Where reads wait for the threads that begin them.

#[cfg(not(loom))]
use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};
use std::{fmt, sync::PoisonError, time::Instant};

#[cfg(loom)]
use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};

use super::schedule::{InFlight, Job, Schedule};
use crate::priority::Priority;

/// Reads that no thread has taken, and threads that wait for some.
pub(crate) struct ReadQueue<J> {
    state: Mutex<State<J>>,
    changed: Condvar,
    /// Reads that a thread has taken and not ended, by priority.
    in_flight: [AtomicUsize; Priority::ALL.len()],
}

struct State<J> {
    waiting: Schedule<J>,
    /// Threads that wait for something to read.
    idle: usize,
    stopped: bool,
}

impl<J> Default for ReadQueue<J> {
    fn default() -> Self {
        let state = State {
            waiting: Schedule::default(),
            idle: 0,
            stopped: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            in_flight: Priority::ALL.map(|_| AtomicUsize::new(0)),
        }
    }
}

impl<J: Job> ReadQueue<J> {
    /// Adds a job, of `several` reads or one. Threads that are busy are to be woken afterwards, if they listen.
    ///
    /// # Errors
    /// The job again, once no more is read.
    pub(crate) fn push(&self, priority: Priority, job: J, several: bool) -> Result<(), J> {
        let mut state = self.lock();
        if state.stopped {
            return Err(job);
        }
        state.waiting.push(priority, job, Instant::now());
        drop(state);
        if several {
            self.changed.notify_all();
        } else {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Takes up to `room` reads; waits for some if `idle`, and else tells `listen` whether the thread is to be woken
    /// for others. False at the end of all work.
    pub(crate) fn take(
        &self,
        room: usize,
        idle: bool,
        listen: impl FnOnce(bool),
        taken: &mut Vec<J::Read>,
    ) -> bool {
        // Dropped once the lock is not held: that may end a fetch, whose listener runs then.
        let mut finished = Vec::new();
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            while taken.len() < room
                && let Some((priority, read)) =
                    state.waiting.next(self.in_flight(), now, &mut finished)
            {
                self.in_flight[priority.index()].fetch_add(1, Ordering::Relaxed);
                taken.push(read);
            }
            if !taken.is_empty() && state.idle > 0 && state.waiting.has_next(self.in_flight(), now)
            {
                // There is room for more, which nobody was told of when it came about.
                self.changed.notify_one();
            }
            if !taken.is_empty() || !idle {
                // While nothing can be added.
                listen(taken.len() < room);
                return true;
            }
            if !finished.is_empty() {
                drop(state);
                finished.clear();
                state = self.lock();
                continue;
            }
            if state.stopped {
                return false;
            }
            state.idle += 1;
            let woken = self.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Notes that a read is over.
    pub(crate) fn end(&self, priority: Priority) {
        self.in_flight[priority.index()].fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn in_flight(&self) -> InFlight {
        std::array::from_fn(|index| self.in_flight[index].load(Ordering::Relaxed))
    }

    /// Takes no more jobs. Threads end once none is left.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// As [`Self::stop`], and gives back what is left.
    pub(crate) fn abort(&self) -> Vec<J> {
        let mut state = self.lock();
        state.stopped = true;
        let waiting = state.waiting.take_all();
        drop(state);
        self.changed.notify_all();
        waiting
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J> fmt::Debug for ReadQueue<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadQueue").finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::{
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicUsize},
        },
        thread,
    };

    use super::*;

    /// Reads that are left, whether somebody has cancelled them, and how many jobs have been let go of.
    struct Reads(usize, Arc<AtomicBool>, Arc<AtomicUsize>);

    impl Job for Reads {
        type Read = ();

        fn take_next(&mut self) -> Option<()> {
            if self.1.load(Ordering::Relaxed) {
                return None;
            }
            self.0 = self.0.checked_sub(1)?;
            Some(())
        }

        fn is_empty(&self) -> bool {
            self.0 == 0
        }
    }

    impl Drop for Reads {
        fn drop(&mut self) {
            self.2.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads until the end, one at a time, and counts.
    fn read_all(queue: &ReadQueue<Reads>) -> usize {
        let (mut taken, mut reads) = (Vec::new(), 0);
        while queue.take(1, true, |_| (), &mut taken) {
            for () in taken.drain(..) {
                queue.end(Priority::Prefill);
                reads += 1;
            }
        }
        reads
    }

    /// For three threads, whose every order takes hours to try: those with up to three preemptions.
    fn few_preemptions() -> loom::model::Builder {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder
    }

    #[test]
    fn idle_threads_begin_every_read_once() {
        few_preemptions().check(|| {
            let queue = Arc::new(ReadQueue::default());
            let dropped = Arc::new(AtomicUsize::new(0));
            let threads = [(); 2].map(|()| {
                let queue = queue.clone();
                thread::spawn(move || read_all(&queue))
            });
            let job = Reads(2, Arc::default(), dropped.clone());
            assert!(queue.push(Priority::Prefill, job, true).is_ok());
            queue.stop();
            let reads = threads.map(|thread| thread.join().unwrap());
            assert_eq!(reads.iter().sum::<usize>(), 2);
            assert_eq!(dropped.load(Ordering::Relaxed), 1);
            assert_eq!(queue.in_flight(), [0; 3]);
        });
    }

    #[test]
    fn a_cancelled_job_is_let_go_of_once_however_far_it_is() {
        loom::model(|| {
            let queue = Arc::new(ReadQueue::default());
            let (cancelled, dropped) = (Arc::new(AtomicBool::new(false)), Arc::default());
            let job = Reads(2, cancelled.clone(), Arc::clone(&dropped));
            assert!(queue.push(Priority::Prefill, job, true).is_ok());
            let reader = {
                let queue = queue.clone();
                thread::spawn(move || read_all(&queue))
            };
            cancelled.store(true, Ordering::Relaxed);
            queue.stop();
            assert!(reader.join().unwrap() <= 2);
            assert_eq!(dropped.load(Ordering::Relaxed), 1);
            assert_eq!(queue.in_flight(), [0; 3]);
        });
    }

    #[test]
    fn a_busy_thread_sees_what_is_added_or_is_woken() {
        loom::model(|| {
            let queue = Arc::new(ReadQueue::default());
            let listens = Arc::new(AtomicBool::new(false));
            let asker = {
                let (queue, listens) = (queue.clone(), listens.clone());
                thread::spawn(move || {
                    let job = Reads(1, Arc::default(), Arc::default());
                    assert!(queue.push(Priority::Decode, job, false).is_ok());
                    // As `Waker::wake` does.
                    listens.load(Ordering::Relaxed) && listens.swap(false, Ordering::Relaxed)
                })
            };
            let mut taken = Vec::new();
            let listen = |now| listens.store(now, Ordering::Relaxed);
            assert!(queue.take(1, false, listen, &mut taken));
            let saw = !taken.is_empty();
            let woken = asker.join().unwrap();
            assert!(saw || woken, "it would sleep until another read ends");
        });
    }
}
