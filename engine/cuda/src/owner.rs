//! The table that rows or columns on a device belong to.

use std::sync::Arc;

use engram::{Batch, LayerId, RowId, Store};

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

    /// Checks that all of `row_ids` are rows of the table's open columns.
    pub(crate) fn check_rows(&self, row_ids: &[RowId]) -> Result<(), DeviceError> {
        Ok(self.store.check(Batch::new(self.layer, row_ids))?)
    }
}
