//! Memory that streams still use.

use std::{collections::VecDeque, sync::Arc};

use crate::event::Event;

/// A value that must live as long as work that uses it.
pub(crate) type Used = Arc<dyn Send + Sync>;

/// Uses between events: so many values live on at most after their work is done.
const USES_PER_EVENT: usize = 64;

/// What the work of a stream uses, until events say that the work is done.
#[derive(Default)]
pub(crate) struct KeepAlive {
    /// Used by the last work, which no event follows yet.
    recent: Vec<Used>,
    /// Used by earlier work, oldest first, with the event that follows it.
    earlier: VecDeque<(Event, Vec<Used>)>,
}

impl KeepAlive {
    pub(crate) fn add(&mut self, used: impl IntoIterator<Item = Used>) {
        self.recent.extend(used);
    }

    /// Whether it is time for an event, at the end of all work so far.
    pub(crate) fn needs_event(&self) -> bool {
        self.recent.len() >= USES_PER_EVENT
    }

    /// Takes an event that follows all work so far.
    pub(crate) fn follow_by(&mut self, event: Event) {
        let used = std::mem::take(&mut self.recent);
        self.earlier.push_back((event, used));
    }

    /// Gives what work used that is done by now.
    pub(crate) fn take_done(&mut self) -> Vec<Vec<Used>> {
        let mut done = Vec::new();
        while let Some((event, _)) = self.earlier.front()
            // Failed work may still use memory, for all that anybody knows.
            && event.is_passed().unwrap_or(false)
        {
            done.extend(self.earlier.pop_front().map(|(_, used)| used));
        }
        done
    }

    /// Adds what `earlier` has, which was taken from this before.
    pub(crate) fn put_back(&mut self, mut earlier: Self) {
        self.recent.append(&mut earlier.recent);
        earlier.earlier.append(&mut self.earlier);
        self.earlier = earlier.earlier;
    }
}
