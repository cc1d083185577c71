//! Which of the reads that wait goes next.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{PendingRead, PendingReads};
use crate::priority::Priority;

/// Reads that a job may begin before it is the turn of the next one of its priority. Neighbours in a file stay
/// together, and so does what a thread has in its caches of the job.
const TURN: usize = 64;

/// Of so many reads in a row that go past a priority that waits, the last one is its own: an eighth of the drive
/// for prompts beside any number of decode steps, a thirty-second for warming.
const MOST_PASSED_OVER: [usize; Priority::ALL.len()] = [usize::MAX, 8, 32];

/// How long reads of a priority are expected to be followed by others. A decode step takes 10 to 100 milliseconds.
const EXPECTED_AGAIN: Duration = Duration::from_millis(250);

/// Reads in flight that keep a drive nearly as busy as any number: with 64, one that does 100,000 a second with 256
/// does 97,000, and a new read waits for 0.6 milliseconds instead of 2.5.
const ENOUGH_IN_FLIGHT: usize = 64;

/// Reads in flight, by priority.
pub(crate) type InFlight = [usize; Priority::ALL.len()];

/// Some reads that are asked for together.
pub(crate) trait Job {
    type Read;

    /// The next of them, if any is left and wanted.
    fn take_next(&mut self) -> Option<Self::Read>;

    /// Whether none is left.
    fn is_empty(&self) -> bool;
}

impl Job for PendingReads {
    type Read = PendingRead;

    fn take_next(&mut self) -> Option<PendingRead> {
        Self::take_next(self)
    }

    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }
}

/// Jobs, each of many reads, that wait for their turns: strict priorities, but for a share of each that waits, and
/// round robin within each.
///
/// It holds no lock and no clock, so that tests can say what happens when.
#[derive(Debug)]
pub(super) struct Schedule<J> {
    classes: [Class<J>; Priority::ALL.len()],
}

#[derive(Debug)]
struct Class<J> {
    /// The first one has its turn.
    jobs: VecDeque<J>,
    /// Reads that the first one has begun in this turn.
    begun: usize,
    /// Reads of higher priorities that have begun since the last of this one, while it waited.
    passed_over: usize,
    last_pushed: Option<Instant>,
}

impl<J> Class<J> {
    /// Whether reads of it wait, or will soon.
    fn is_expected(&self, now: Instant) -> bool {
        let recent = |last| now.saturating_duration_since(last) < EXPECTED_AGAIN;
        !self.jobs.is_empty() || self.last_pushed.is_some_and(recent)
    }
}

impl<J> Default for Schedule<J> {
    fn default() -> Self {
        let class = || Class {
            jobs: VecDeque::new(),
            begun: 0,
            passed_over: 0,
            last_pushed: None,
        };
        Self {
            classes: [class(), class(), class()],
        }
    }
}

impl<J: Job> Schedule<J> {
    /// Adds a job at `now`.
    pub(super) fn push(&mut self, priority: Priority, job: J, now: Instant) {
        let class = &mut self.classes[priority.index()];
        class.jobs.push_back(job);
        class.last_pushed = Some(now);
    }

    /// The next read and its priority. Jobs that have none left go to `finished`. None if no job has a read, or the
    /// reads `in_flight` leave no room for those that have.
    pub(super) fn next(
        &mut self,
        in_flight: InFlight,
        now: Instant,
        finished: &mut Vec<J>,
    ) -> Option<(Priority, J::Read)> {
        loop {
            let index = self.choose(in_flight, now)?;
            let class = &mut self.classes[index];
            if class.begun >= TURN {
                class.jobs.rotate_left(1);
                class.begun = 0;
            }
            let job = class.jobs.front_mut();
            let job = job.expect("a class that waits was chosen");
            let read = job.take_next();
            // At once, not when its turn comes again: whoever waits for it would wait for a turn of each other.
            if read.is_none() || job.is_empty() {
                finished.extend(class.jobs.pop_front());
                class.begun = 0;
            } else {
                class.begun += 1;
            }
            if let Some(read) = read {
                class.passed_over = 0;
                for lower in &mut self.classes[index + 1..] {
                    lower.passed_over += usize::from(!lower.jobs.is_empty());
                }
                return Some((Priority::ALL[index], read));
            }
        }
    }

    /// Whether a read may begin.
    pub(super) fn has_next(&self, in_flight: InFlight, now: Instant) -> bool {
        self.choose(in_flight, now).is_some()
    }

    /// All jobs, which are not done.
    pub(super) fn take_all(&mut self) -> Vec<J> {
        let classes = self.classes.iter_mut();
        classes.flat_map(|class| class.jobs.drain(..)).collect()
    }

    /// The class whose turn it is.
    fn choose(&self, in_flight: InFlight, now: Instant) -> Option<usize> {
        let may_begin = |index: &usize| {
            let waits = !self.classes[*index].jobs.is_empty();
            waits && self.has_room(*index, in_flight, now)
        };
        let indexes = 0..self.classes.len();
        let due = |index: &usize| self.classes[*index].passed_over + 1 >= MOST_PASSED_OVER[*index];
        indexes
            .clone()
            .filter(may_begin)
            .find(due)
            .or_else(|| indexes.clone().find(may_begin))
    }

    /// Whether one more read of a class leaves the drive open for those of higher ones that are expected.
    fn has_room(&self, index: usize, in_flight: InFlight, now: Instant) -> bool {
        let has_room_below = |higher: usize| {
            let lower: usize = in_flight[higher + 1..].iter().sum();
            lower < ENOUGH_IN_FLIGHT || !self.classes[higher].is_expected(now)
        };
        (0..index).all(has_room_below)
    }
}

#[cfg(test)]
mod tests;
