//! How a ring is made.

use engram::ValueType;
use std::sync::Arc;

use crate::{hot_rows::HotRows, mapped_columns::MappedColumns};

/// How a [`Ring`](crate::Ring) is made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RingConfig {
    /// The most rows of a pass: tokens times columns.
    pub max_rows: usize,
    /// Slots of a layer: how many passes can be on their way at once, at least 1.
    pub depth: usize,
    /// The type of values that rows are decoded to.
    pub value_type: ValueType,
    /// Rows in device memory, at most one set for a layer.
    pub hot: Vec<Arc<HotRows>>,
    /// Columns that the device reads in host memory, at most one set for a layer. Their rows cross the bus each time
    /// they come up; all others once a pass.
    pub mapped: Vec<Arc<MappedColumns>>,
    pub(crate) is_timed: bool,
}

impl RingConfig {
    /// For passes of up to `max_rows` rows, two of them at a time, decoded to bf16, all through staging buffers.
    pub fn new(max_rows: usize) -> Self {
        Self {
            max_rows,
            depth: 2,
            value_type: ValueType::Bf16,
            hot: Vec::new(),
            mapped: Vec::new(),
            is_timed: false,
        }
    }

    /// Sets how many passes of a layer can be on their way at once.
    #[must_use]
    pub fn depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// Sets the type of values that rows are decoded to.
    #[must_use]
    pub fn value_type(mut self, value_type: ValueType) -> Self {
        self.value_type = value_type;
        self
    }

    /// Takes these rows from device memory.
    #[must_use]
    pub fn hot(mut self, hot: Arc<HotRows>) -> Self {
        self.hot.push(hot);
        self
    }

    /// Lets the device read rows of these columns in host memory.
    #[must_use]
    pub fn mapped(mut self, mapped: Arc<MappedColumns>) -> Self {
        self.mapped.push(mapped);
        self
    }

    /// Times each pass, for [`OutputSlot::device_time`](crate::OutputSlot::device_time).
    #[cfg(feature = "bench")]
    #[must_use]
    pub fn timed(mut self) -> Self {
        self.is_timed = true;
        self
    }
}
