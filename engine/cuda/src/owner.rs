//! The table that rows or columns on a device belong to.

use std::sync::Arc;

use engram::{LayerId, LookupError, RowId, Store};

use crate::{device::Device, error::DeviceError};

/// The table of an open store, and the device that has its rows or reads them.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) device: Device,
    pub(crate) store: Arc<Store>,
    pub(crate) layer: LayerId,
}

impl Owner {
    pub(crate) fn new(device: &Device, store: &Arc<Store>, layer: LayerId) -> Self {
        Self {
            device: device.clone(),
            store: store.clone(),
            layer,
        }
    }

    /// Checks that `what`, which belong to this owner, may be used by `user`.
    pub(crate) fn check(&self, what: &'static str, user: &Self) -> Result<(), DeviceError> {
        let owner = if !self.device.is_same(&user.device) {
            "device"
        } else if !Arc::ptr_eq(&self.store, &user.store) {
            "open store"
        } else if self.layer != user.layer {
            "layer"
        } else {
            return Ok(());
        };
        Err(DeviceError::OtherOwner { what, owner })
    }

    /// Checks that all of `row_ids` are rows of the table.
    pub(crate) fn check_rows(&self, row_ids: &[RowId]) -> Result<(), DeviceError> {
        let columns = self.store.columns(self.layer)?;
        let row_count = columns.iter().map(|column| column.row_count).sum();
        match row_ids.iter().position(|row| row.0 >= row_count) {
            None => Ok(()),
            Some(index) => Err(LookupError::RowOutOfRange {
                layer: self.layer,
                index,
                row: row_ids[index],
                row_count,
            }
            .into()),
        }
    }
}
