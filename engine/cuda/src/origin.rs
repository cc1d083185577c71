//! What rows belong to.

use std::sync::Arc;

use engram::{LayerId, LookupError, RowId, Store};

use crate::{device::Device, error::DeviceError};

/// The table, of an open store, and the device that has its rows or reads them.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) device: Device,
    pub(crate) store: Arc<Store>,
    pub(crate) layer: LayerId,
}

impl Origin {
    pub(crate) fn new(device: &Device, store: &Arc<Store>, layer: LayerId) -> Self {
        Self {
            device: device.clone(),
            store: store.clone(),
            layer,
        }
    }

    /// Checks that what `what` names, which is of this, is of `expected`.
    pub(crate) fn check(&self, what: &'static str, expected: &Self) -> Result<(), DeviceError> {
        let expected = if !self.device.is_same(&expected.device) {
            "the same device"
        } else if !Arc::ptr_eq(&self.store, &expected.store) {
            "the same open store"
        } else if self.layer != expected.layer {
            "the same layer"
        } else {
            return Ok(());
        };
        Err(DeviceError::Foreign { what, expected })
    }

    /// Checks that `rows` are rows of the table.
    pub(crate) fn check_rows(&self, rows: &[RowId]) -> Result<(), DeviceError> {
        let columns = self.store.columns(self.layer)?;
        let row_count = columns.iter().map(|column| column.row_count).sum();
        match rows.iter().position(|row| row.0 >= row_count) {
            None => Ok(()),
            Some(index) => Err(LookupError::RowOutOfRange {
                layer: self.layer,
                index,
                row: rows[index],
                row_count,
            }
            .into()),
        }
    }
}
