//! The staging ring: rows on their way from a store to a device, pass after pass.
//!
//! ```text
//!                   hot, mapped: where they lie
//! row ids --stage--> addresses ------------------------------+
//!        |                                                   v
//!        +--unique--> Store::submit --> pinned buffer --copy--> device rows --decode--> output --> consumer's stream
//!                      (ticket)         of the slot        the lane's stream           of the slot
//! ```
//!
//! All work is put in the lane's stream by whoever stages; the stream waits for rows by itself. When they have come, the
//! host writes a word and calls nothing of the driver.
//!
//! Each layer has a lane: a stream, a thread that waits for tickets, and slots that passes use in turn, all with fixed
//! addresses. A slot's output belongs to the lane's stream while a word is zero and to the consumer's while it is one;
//! either stream waits for that by itself, so nobody waits on the host, and a captured graph can do it again and again.
//!
//! A graph may be launched before the passes that it waits for are staged. Until they are, no thread may allocate or
//! free memory of the same device, load kernels, or wait for the whole device: the driver may let that wait for the graph,
//! and `stage` for that.

mod lane;
mod resolve;
mod slot;
mod staged;

use std::sync::Arc;

use engram::{LayerId, RowId, Store};

use crate::{
    device::Device,
    error::{DeviceError, expect},
    hot::HotRows,
    kernels::Output,
    mapped::MappedColumns,
    origin::Origin,
};
use lane::Lane;
pub use lane::LaneMetrics;
pub use staged::{Outcome, Port, Staged};

/// How a [`Ring`] is made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RingConfig {
    /// The most rows of a pass: tokens times columns.
    pub rows: usize,
    /// Passes of a layer that can be on their way at once, at least 1.
    pub depth: usize,
    /// What the device makes of rows.
    pub output: Output,
    /// Rows in device memory, one value for each layer that has some.
    pub hot: Vec<Arc<HotRows>>,
    /// Columns that the device reads in host memory, one value for each layer that has some. Their rows cross the bus as
    /// often as they come; all others once a pass.
    pub mapped: Vec<Arc<MappedColumns>>,
}

impl RingConfig {
    /// For passes of up to `rows` rows, two of them at a time, as bf16, all through staging buffers.
    pub fn new(rows: usize) -> Self {
        Self {
            rows,
            depth: 2,
            output: Output::Bf16,
            hot: Vec::new(),
            mapped: Vec::new(),
        }
    }

    /// Chooses how many passes can be on their way.
    #[must_use]
    pub fn depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// Chooses what the device makes of rows.
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }

    /// Takes rows that are in device memory from there.
    #[must_use]
    pub fn hot(mut self, hot: Arc<HotRows>) -> Self {
        self.hot.push(hot);
        self
    }

    /// Lets the device read rows of these columns where they lie.
    #[must_use]
    pub fn mapped(mut self, mapped: Arc<MappedColumns>) -> Self {
        self.mapped.push(mapped);
        self
    }
}

/// Brings rows of all layers of a store to a device. Shared freely between threads.
#[derive(Debug)]
pub struct Ring {
    device: Device,
    store: Arc<Store>,
    rows: usize,
    output: Output,
    lanes: Vec<Lane>,
}

impl Ring {
    /// A ring between `store` and `device`. A slot takes `rows` times the bytes of a row and 8 of pinned memory, and the
    /// same and the values of device memory.
    ///
    /// # Errors
    /// A configuration without rows or passes, hot rows or columns of another open store or device; a device whose streams cannot wait
    /// for values; no memory.
    pub fn new(
        device: &Device,
        store: Arc<Store>,
        config: &RingConfig,
    ) -> Result<Self, DeviceError> {
        expect(config.rows > 0, "rows of a pass", config.rows, "1 or more")?;
        expect(
            config.depth > 0,
            "passes at a time",
            config.depth,
            "1 or more",
        )?;
        if !device.driver().streams_wait_for_values() {
            return Err(DeviceError::Unsupported {
                device: device.name(),
                what: "let streams wait for 64-bit values",
            });
        }
        for hot in &config.hot {
            let expected = Origin::new(device, &store, hot.layer());
            hot.origin().check("hot rows", &expected)?;
        }
        for mapped in &config.mapped {
            let expected = Origin::new(device, &store, mapped.layer());
            mapped.origin().check("mapped columns", &expected)?;
        }
        let layers: Vec<LayerId> = store.scheme().layers.iter().map(|layer| layer.id).collect();
        let lanes = layers
            .iter()
            .enumerate()
            .map(|(rank, &layer)| Lane::new(device, &store, layer, rank, config));
        Ok(Self {
            device: device.clone(),
            rows: config.rows,
            output: config.output,
            lanes: lanes.collect::<Result<_, _>>()?,
            store,
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

    /// What the device makes of rows.
    pub fn output(&self) -> Output {
        self.output
    }

    /// The most rows of a pass.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Begins to bring the rows of `layer` to the device, `[rows]` in the order given, for the next pass: copies those
    /// in memory to the staging buffer and asks for the others. Stage what is needed first first: its reads are asked for
    /// first, and its kernels go before those of later layers.
    ///
    /// Never waits: none, if the slot whose turn it is is in use; try again once the pass that has it has been consumed or
    /// dropped.
    /// Allocates nothing but the handles, after the first passes.
    ///
    /// # Errors
    /// A layer or row that is not there, more rows than the ring was made for, a damaged row in memory. What comes later
    /// is for [`Outcome::wait`].
    pub fn stage(&self, layer: LayerId, rows: &[RowId]) -> Result<Option<Staged>, DeviceError> {
        self.lane(layer)?.stage(rows)
    }

    /// What a captured graph takes a layer's rows from: the slots of the layer, which passes use in turn.
    ///
    /// # Errors
    /// A layer without a lane.
    pub fn ports(&self, layer: LayerId) -> Result<Vec<Port>, DeviceError> {
        Ok(self.lane(layer)?.ports())
    }

    /// What has been done for each layer.
    pub fn metrics(&self) -> Vec<LaneMetrics> {
        self.lanes.iter().map(Lane::metrics).collect()
    }

    fn lane(&self, layer: LayerId) -> Result<&Lane, DeviceError> {
        let lane = self.lanes.iter().find(|lane| lane.layer() == layer);
        lane.ok_or_else(|| {
            let layers = self.lanes.iter().map(Lane::layer).collect();
            engram::LookupError::UnknownLayer { layer, layers }.into()
        })
    }
}
