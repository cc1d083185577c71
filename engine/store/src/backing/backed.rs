//! A table and the backing that has its rows.

use std::sync::Arc;

use super::{Backing, Fetch, Receiver};

/// A table some of whose rows are fetched.
#[derive(Debug, Clone)]
pub(crate) struct Backed {
    pub(crate) receiver: Arc<Receiver>,
    pub(crate) backing: Arc<dyn Backing>,
}

impl Backed {
    /// Plans the reads of the rows that `fetch` has.
    pub(crate) fn plan(&self, fetch: &mut Fetch) {
        let geometry = self.backing.geometry();
        fetch.plan.make_reads(&self.receiver.source, geometry);
        fetch.receiver = Some(self.receiver.clone());
    }

    /// Begins the reads that were planned.
    pub(crate) fn start(&self, fetch: &Arc<Fetch>) {
        self.backing.fetch(Fetch::begin(fetch));
    }
}
