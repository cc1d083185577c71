//! The sources of a layer's rows.

use std::sync::Arc;

use engram::{LayerId, RowId};

use super::config::RingConfig;
use crate::{hot_rows::HotRows, mapped_columns::MappedColumns, unique_rows::UniqueRows};

/// Rows of a pass by their source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SourceCounts {
    pub(super) hot: u64,
    pub(super) mapped: u64,
    pub(super) staged: u64,
}

/// The memory besides a ring's slots that rows of a layer are in.
#[derive(Debug, Default)]
pub(super) struct Sources {
    hot: Option<Arc<HotRows>>,
    pub(super) mapped: Option<Arc<MappedColumns>>,
}

impl Sources {
    pub(super) fn new(config: &RingConfig, layer: LayerId) -> Self {
        let hot = config.hot.iter().find(|hot| hot.layer() == layer);
        let mapped = config.mapped.iter().find(|mapped| mapped.layer() == layer);
        Self {
            hot: hot.cloned(),
            mapped: mapped.cloned(),
        }
    }

    /// Writes the device address of each of `row_ids`, which are rows of the table, to `addresses`: in device memory if
    /// the row is hot, in host memory if its column is mapped, else where it will be among the slot's device rows,
    /// which begin at `staged_address` and have `row_bytes` bytes each. Those last ones are then in `unique`.
    pub(super) fn resolve(
        &self,
        row_ids: &[RowId],
        (staged_address, row_bytes): (u64, usize),
        unique: &mut UniqueRows,
        addresses: &mut [u64],
    ) -> SourceCounts {
        let mut counts = SourceCounts::default();
        unique.begin(row_ids.len());
        for (&row_id, address) in row_ids.iter().zip(addresses) {
            let hot = self.hot.as_ref().and_then(|hot| hot.address_of(row_id));
            let mapped = || self.mapped.as_ref()?.address_of(row_id);
            *address = if let Some(hot) = hot {
                counts.hot += 1;
                hot
            } else if let Some(mapped) = mapped() {
                counts.mapped += 1;
                mapped
            } else {
                counts.staged += 1;
                let unique_index = u64::from(unique.index_of(row_id));
                staged_address + unique_index * row_bytes as u64
            };
        }
        counts
    }
}
