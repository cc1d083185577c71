//! The ring of one layer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engram::{Buffer, LayerId, OwnedBatch, Priority, RowBuffer, RowId, Store, Ticket};

use super::{
    config::RingConfig,
    fetcher::{Fetcher, Job},
    output_slot::OutputSlot,
    pass_slot::PassSlot,
    pipeline::LayerPipeline,
    sources::SourceCounts,
    staged::Staged,
};
use crate::{device::Device, error::DeviceError, owner::Owner, unique_rows::UniqueRows};

/// What a ring has done for a layer since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LayerMetrics {
    /// The model's layer id.
    pub layer: LayerId,
    /// Passes staged.
    pub passes: u64,
    /// Requests to stage a pass that found no free slot.
    pub refused: u64,
    /// Rows asked for that were in device memory.
    pub hot_rows: u64,
    /// Rows asked for that the device read in host memory.
    pub mapped_rows: u64,
    /// Rows asked for that came through staging buffers.
    pub staged_rows: u64,
    /// Of `staged_rows`, each row counted once a pass: those that the store was asked for and that crossed the bus.
    pub unique_rows: u64,
}

/// A layer's slots, the passes that are staged in them, and the thread that waits for their rows.
#[derive(Debug)]
pub(super) struct LayerRing {
    // Dropped first: it waits for the rows of all passes, for which the pipeline waits.
    fetcher: Fetcher,
    pipeline: Arc<LayerPipeline>,
    owner: Owner,
    stager: Mutex<Stager>,
}

/// The state of staging, one pass at a time.
#[derive(Debug)]
struct Stager {
    unique: UniqueRows,
    metrics: LayerMetrics,
}

impl LayerRing {
    pub(super) fn new(
        device: &Device,
        store: &Arc<Store>,
        layer: LayerId,
        rank: usize,
        config: &RingConfig,
    ) -> Result<Self, DeviceError> {
        let metrics = LayerMetrics {
            layer,
            ..LayerMetrics::default()
        };
        Ok(Self {
            fetcher: Fetcher::new(layer, config.depth)?,
            pipeline: Arc::new(LayerPipeline::new(device, store, layer, rank, config)?),
            owner: Owner::new(device, store, layer),
            stager: Mutex::new(Stager {
                unique: UniqueRows::default(),
                metrics,
            }),
        })
    }

    pub(super) fn layer(&self) -> LayerId {
        self.pipeline.layer()
    }

    pub(super) fn metrics(&self) -> LayerMetrics {
        self.stager().metrics
    }

    fn stager(&self) -> MutexGuard<'_, Stager> {
        self.stager.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn output_slots(&self) -> Vec<OutputSlot> {
        let slots = 0..self.pipeline.slots().len();
        slots
            .map(|index| OutputSlot::new(&self.pipeline, index))
            .collect()
    }

    pub(super) fn stage(
        &self,
        priority: Priority,
        row_ids: &[RowId],
    ) -> Result<Option<Staged>, DeviceError> {
        let (found, max) = (row_ids.len(), self.pipeline.max_rows());
        if found > max {
            return Err(DeviceError::TooManyRows { found, max });
        }
        self.owner.check_rows(row_ids)?;
        let mut stager = self.stager();
        let Stager { unique, metrics } = &mut *stager;
        let slots = self.pipeline.slots();
        let slot_index = usize::try_from(metrics.passes).unwrap_or(0) % slots.len();
        let slot = &slots[slot_index];
        let is_free = slot.is_free();
        // In this order: whoever ends the layer does so before freeing the slot.
        self.pipeline.check_not_ended()?;
        let Some(buffer) = is_free.then(|| slot.pool.take()).flatten() else {
            metrics.refused += 1;
            return Ok(None);
        };
        let (ticket, counts) = self.submit(slot, buffer, priority, row_ids, unique)?;
        let number = metrics.passes + 1;
        let job = Job::new(&self.pipeline, slot_index, number, row_ids.len(), ticket);
        slot.begin_pass(number);
        let staged_bytes = unique.row_ids().len() * self.pipeline.codec().row_bytes();
        let enqueued = (self.pipeline).enqueue(slot_index, number, row_ids.len(), staged_bytes);
        if let Err(error) = enqueued {
            // Part of the pass may be in the stream. Dropping the job lets it go on.
            self.pipeline.end();
            return Err(error);
        }
        metrics.passes = number;
        metrics.hot_rows += counts.hot;
        metrics.mapped_rows += counts.mapped;
        metrics.staged_rows += counts.staged;
        metrics.unique_rows += unique.row_ids().len() as u64;
        let slot = OutputSlot::new(&self.pipeline, slot_index);
        let staged = Staged::new(slot, number, row_ids.len(), job.progress().clone());
        self.hand_over(job)?;
        Ok(Some(staged))
    }

    /// Writes the addresses of the pass to a slot that is free, and asks the store for those rows that are staged.
    fn submit(
        &self,
        slot: &PassSlot,
        mut buffer: RowBuffer,
        priority: Priority,
        row_ids: &[RowId],
        unique: &mut UniqueRows,
    ) -> Result<(Ticket, SourceCounts), DeviceError> {
        let row_bytes = self.pipeline.codec().row_bytes();
        let device_rows = (slot.device_rows.address(), row_bytes);
        let counts = {
            let mut addresses = slot.addresses();
            let addresses = &mut addresses.as_mut_words()[..row_ids.len()];
            (self.pipeline.sources()).resolve(row_ids, device_rows, unique, addresses)
        };
        buffer.reset(unique.row_ids().len(), [row_bytes, 0]);
        let batch = OwnedBatch::new(self.layer(), unique.row_ids().into());
        // From here on the buffer returns to the slot by itself.
        let buffer = Buffer::new(buffer, slot.pool.clone());
        let store = self.owner.store.at(priority);
        Ok((store.submit_owned(batch, buffer)?, counts))
    }

    /// Sees to it that the device is told when the rows of a pass are there.
    fn hand_over(&self, job: Job) -> Result<(), DeviceError> {
        if job.is_ready() {
            job.run();
            return Ok(());
        }
        // There is room for as many jobs as there are slots, so this does not wait.
        self.fetcher.send(job)
    }
}

#[cfg(test)]
mod tests;
