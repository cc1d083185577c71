//! A large batch, planned by threads of the store instead of its caller.

use std::sync::Arc;

use engram_format::OwnedBatch;

use super::submit_buffer::SubmitBuffer;
use crate::{
    backing::{Part, Work},
    error::LookupError,
    lookup::{Scratch, Table},
    pools::Pools,
    resolve::RowRef,
    tier::Tier,
};

/// Rows that are gathered before it is the turn of another batch: less than a millisecond where they are in memory.
const TURN_ROWS: usize = 1 << 14;
/// The same where files are read meanwhile.
const READ_TURN_ROWS: usize = 512;

/// A batch whose rows in memory are being gathered, a turn at a time.
pub(super) struct Planning {
    pub(super) table: Arc<Table>,
    /// The table's tiers as they were when the batch was asked for, where any of them changes.
    pub(super) tiers: Option<Vec<Arc<dyn Tier>>>,
    pub(super) batch: OwnedBatch,
    pub(super) work: Work,
    pub(super) destination: SubmitBuffer,
    pub(super) pools: Arc<Pools>,
    /// Place of the first row that has had no turn.
    pub(super) next: usize,
    /// Rows that no tier had.
    pub(super) missing: Vec<RowRef>,
    /// The last to be let go of: whoever waits for it finds the row ids free.
    pub(super) part: Part,
}

impl Planning {
    /// Lets threads of the pool do it, a turn at a time; this thread if there is none.
    pub(super) fn begin(self) {
        let gather = self.pools.gather.clone();
        let mut planning = self;
        if !gather.has_threads() {
            while let Some(more) = planning.turn() {
                planning = more;
            }
            return;
        }
        gather.spawn(planning.work.priority, move || {
            planning.turn().into_iter().for_each(Self::begin);
        });
    }

    /// Takes a turn. Gives itself back if there is another one to take.
    fn turn(mut self) -> Option<Self> {
        if self.part.fetch().is_cancelled() {
            self.part.fetch().fail(LookupError::Cancelled, &[]);
            return None;
        }
        match self.gather() {
            Ok(false) => return Some(self),
            Ok(true) => self.start(),
            Err(error) => self.part.fetch().fail(error, &[]),
        }
        None
    }

    /// Copies the rows of a turn that are in memory. Whether it was the last one.
    fn gather(&mut self) -> Result<bool, LookupError> {
        let batch = self.batch.as_batch();
        if self.next == 0 {
            self.table.check_rows(&batch)?;
            self.destination.reset(&self.table, batch.len());
        }
        let mut output = self.destination.output(&self.table)?;
        let turn_rows = match self.table.reader {
            None => TURN_ROWS,
            Some(_) => READ_TURN_ROWS,
        };
        let turn_rows = turn_rows.next_multiple_of(self.table.columns.len());
        if let Some(mut turn) = output.parts(self.next, turn_rows).next() {
            let (table, gather) = (&self.table, &self.pools.gather);
            Scratch::with(|scratch| {
                let tiers = self.tiers.as_ref().unwrap_or(&table.tiers);
                table.gather(gather, tiers, batch, &mut turn, scratch)?;
                self.missing.extend_from_slice(&scratch.missing);
                Ok::<_, LookupError>(())
            })?;
        }
        self.next += turn_rows;
        Ok(self.next >= batch.len())
    }

    /// Plans the reads of the rows that no tier had, and begins them.
    fn start(self) {
        let Self {
            table,
            batch,
            mut work,
            destination,
            pools,
            mut missing,
            part,
            ..
        } = self;
        drop(batch);
        let backed = (!missing.is_empty()).then(|| table.plan(&mut work, &mut missing).clone());
        let destination = destination.into_fetch(&table, work.plan.rows.len(), &pools);
        drop((table, missing, pools));
        match destination {
            Err(error) => part.fetch().fail(error, &[]),
            Ok(destination) => {
                work.destination = destination;
                part.fetch().set_work(work);
                if let Some(backed) = backed {
                    backed.start(part);
                }
            }
        }
    }
}
