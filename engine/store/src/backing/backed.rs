//! A table and the backing that has its rows.

use std::sync::Arc;

use super::{Backing, Part, Receiver, Work};

/// A table some of whose rows are fetched.
#[derive(Debug, Clone)]
pub(crate) struct Backed {
    pub(crate) receiver: Arc<Receiver>,
    pub(crate) backing: Arc<dyn Backing>,
}

impl Backed {
    /// Plans the reads of the rows that `work` has.
    pub(crate) fn plan(&self, work: &mut Work) {
        let geometry = self.backing.geometry();
        work.plan.make_reads(&self.receiver.source, geometry);
        work.receiver = Some(self.receiver.clone());
    }

    /// Begins the reads of the fetch that `part` is all of.
    pub(crate) fn start(&self, part: Part) {
        self.backing.fetch(part.into_reads());
    }
}
