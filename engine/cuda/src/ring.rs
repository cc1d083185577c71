//! The staging ring: rows on their way from a store to a device, pass after pass.
//!
//! ```text
//!              hot, mapped: the device reads them in place
//! row ids --stage--> addresses --------------------------+
//!        |                                               v
//!        +--unique--> submit_owned  --> pinned buffer --copy--> device rows --decode--> values --> consumer
//!                     (ticket)          of the slot     in the layer's stream           of the slot
//! ```
//!
//! Whoever stages a pass puts all its work in the layer's stream, which waits for rows by itself. When they have come,
//! the host writes a word and calls nothing of the driver.
//!
//! Each layer has a stream, a thread that waits for tickets, and slots that passes use in turn, all with fixed
//! addresses. The values of a slot belong to the layer's stream while a word is zero, and to the consumer's while it
//! is one. Either stream waits for that by itself, so nobody waits on the host, and a captured graph can do it again
//! and again.
//!
//! A graph may be launched before the passes that it waits for are staged. Until they are, no thread may allocate or
//! free memory of the same device, load kernels, or wait for the whole device: the driver may let that wait for the
//! graph, and `stage` for that. A stream frees memory that was dropped while it used it; see [`Stream`](crate::Stream).

mod config;
mod fetcher;
mod layer_ring;
mod output_slot;
mod pass_slot;
mod pipeline;
mod progress;
mod sources;
mod staged;

use std::{mem, process, sync::Arc};

use engram::{LayerId, LookupError, Priority, RowId, Store, ValueType};

pub use config::RingConfig;
pub use layer_ring::LayerMetrics;
use layer_ring::LayerRing;
pub use output_slot::OutputSlot;
pub use progress::Outcome;
pub use staged::Staged;

use crate::{device::Device, error::DeviceError, owner::Owner};

/// Brings rows of all layers of a store to a device. Threads may share it.
///
/// It belongs to the process that made it, as the store and all that a device has do. A process that is forked from
/// that one may drop it, which frees nothing there.
#[derive(Debug)]
pub struct Ring {
    /// The process that has its threads.
    process: u32,
    device: Device,
    store: Arc<Store>,
    max_rows: usize,
    value_type: ValueType,
    layers: Vec<LayerRing>,
}

impl Ring {
    /// A ring between `store` and `device`. A slot takes, for each of `max_rows` rows, the bytes of a row and 8 of
    /// pinned memory, and the same and the bytes of its values of device memory.
    ///
    /// # Errors
    /// A configuration without rows or passes or with more rows than a kernel can take, hot rows or columns of another
    /// open store or device, a device whose streams cannot wait for words of memory, no memory.
    pub fn new(
        device: &Device,
        store: Arc<Store>,
        config: &RingConfig,
    ) -> Result<Self, DeviceError> {
        if config.max_rows == 0 {
            return Err(DeviceError::ZeroMaxRows);
        }
        if config.depth == 0 {
            return Err(DeviceError::ZeroDepth);
        }
        if !device.driver().streams_wait_for_values() {
            return Err(DeviceError::NoStreamWaits {
                device: device.name(),
            });
        }
        for hot in &config.hot {
            let user = Owner::new(device, &store, hot.layer());
            hot.owner().check("hot rows", &user)?;
        }
        for mapped in &config.mapped {
            let user = Owner::new(device, &store, mapped.layer());
            mapped.owner().check("mapped columns", &user)?;
        }
        let layers = store.scheme().layers.iter().enumerate();
        let layers = layers
            .map(|(rank, layer)| LayerRing::new(device, &store, layer.id, rank, config))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            process: process::id(),
            device: device.clone(),
            store,
            max_rows: config.max_rows,
            value_type: config.value_type,
            layers,
        })
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The store that rows come from.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The type of values that rows are decoded to.
    pub fn value_type(&self) -> ValueType {
        self.value_type
    }

    /// The most rows of a pass.
    pub fn max_rows(&self) -> usize {
        self.max_rows
    }

    /// Begins to bring rows of `layer` to the device, in the order of `row_ids`, for the next pass: asks the store for
    /// them, as [`Store::submit_owned`] does. Stage the layer that is needed first before
    /// others: its reads are asked for first, and its kernels go before those of later layers.
    ///
    /// Never waits. None if the next slot is in use; try again once the pass that has it has been consumed or dropped.
    /// After the first passes it allocates nothing but handles and the ids of different rows.
    ///
    /// # Errors
    /// A layer or row that is not there, more rows than [`Self::max_rows`], in a small pass a damaged row in memory, a
    /// driver that refuses, now or in an earlier pass. [`Outcome::wait`] tells what happens later.
    pub fn stage(&self, layer: LayerId, row_ids: &[RowId]) -> Result<Option<Staged>, DeviceError> {
        self.stage_at(Priority::of_rows(row_ids.len()), layer, row_ids)
    }

    /// As [`Self::stage`], before or after what others want rather than by the size of the pass.
    ///
    /// # Errors
    /// As [`Self::stage`].
    pub fn stage_at(
        &self,
        priority: Priority,
        layer: LayerId,
        row_ids: &[RowId],
    ) -> Result<Option<Staged>, DeviceError> {
        self.layer(layer)?.stage(priority, row_ids)
    }

    /// The slots of `layer`, which passes use in turn: what a captured graph takes the layer's rows from.
    ///
    /// # Errors
    /// A layer without a table.
    pub fn output_slots(&self, layer: LayerId) -> Result<Vec<OutputSlot>, DeviceError> {
        Ok(self.layer(layer)?.output_slots())
    }

    /// What the ring has done for each layer.
    pub fn metrics(&self) -> Vec<LayerMetrics> {
        self.layers.iter().map(LayerRing::metrics).collect()
    }

    fn layer(&self, layer: LayerId) -> Result<&LayerRing, DeviceError> {
        let ring = self.layers.iter().find(|ring| ring.layer() == layer);
        ring.ok_or_else(|| {
            let layers = self.layers.iter().map(LayerRing::layer).collect();
            LookupError::UnknownLayer { layer, layers }.into()
        })
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if process::id() != self.process {
            // Their threads are in the process that this one was forked from: nothing here would ever end.
            mem::forget(mem::take(&mut self.layers));
        }
    }
}
