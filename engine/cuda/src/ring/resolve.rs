//! Where the rows of a pass come from.

use std::sync::Arc;

use engram::RowId;

use crate::{hot::HotRows, mapped::MappedColumns, unique::Unique};

/// Rows of a pass by where they come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) hot: u64,
    pub(super) mapped: u64,
    pub(super) staged: u64,
}

/// Decides for each row of a layer.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) hot: Option<Arc<HotRows>>,
    pub(super) mapped: Option<Arc<MappedColumns>>,
    pub(super) unique: Unique,
}

impl Resolver {
    /// Writes the device's address of each of `rows`, which are rows of the table: in device memory, in a mapped column, or where it will be in the slot's
    /// rows of `row_bytes` bytes from `staged_address` on. Those to be staged are then in `unique`.
    pub(super) fn resolve(
        &mut self,
        rows: &[RowId],
        staged_address: u64,
        row_bytes: usize,
        addresses: &mut [u64],
    ) -> Counts {
        let mut counts = Counts::default();
        self.unique.begin(rows.len());
        for (&row, address) in rows.iter().zip(addresses) {
            let hot = self.hot.as_ref().and_then(|hot| hot.address_of(row));
            let mapped = || self.mapped.as_ref()?.address_of(row);
            *address = if let Some(hot) = hot {
                counts.hot += 1;
                hot
            } else if let Some(mapped) = mapped() {
                counts.mapped += 1;
                mapped
            } else {
                counts.staged += 1;
                let number = u64::from(self.unique.number(row));
                staged_address + number * row_bytes as u64
            };
        }
        counts
    }
}
