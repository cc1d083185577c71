//! Files whose reads fail as planned.

use std::{path::Path, sync::Arc};

use super::{Access, Io};
use crate::{
    DirectFile, EngineRequest, FaultEngine, FaultPlan, FaultReader, IoError, MemoryReader, ReadAt,
    ReadEngine,
};

/// Wraps an [`Io`] whose reads then fail as a [`FaultPlan`] says. Opening a file does not fail by plan, but loading it
/// with [`Access::Memory`] reads it.
#[derive(Debug)]
pub struct FaultIo {
    inner: Arc<dyn Io>,
    plan: FaultPlan,
}

impl FaultIo {
    /// The files of `inner`, read with the faults of `plan`.
    pub fn new(inner: Arc<dyn Io>, plan: FaultPlan) -> Self {
        Self { inner, plan }
    }
}

impl Io for FaultIo {
    fn open(&self, path: &Path, access: Access) -> Result<Box<dyn ReadAt>, IoError> {
        if access == Access::Memory {
            let reader = self.open(path, Access::Sequential)?;
            return Ok(Box::new(MemoryReader::load(path, &*reader)?));
        }
        let inner = self.inner.open(path, access)?;
        Ok(Box::new(FaultReader::new(inner, path, self.plan.clone())))
    }

    fn open_direct(&self, path: &Path) -> Result<DirectFile, IoError> {
        self.inner.open_direct(path)
    }

    fn engine(
        &self,
        request: EngineRequest,
        files: &Arc<[DirectFile]>,
        slot_bytes: usize,
    ) -> Result<Box<dyn ReadEngine>, IoError> {
        let inner = self.inner.engine(request, files, slot_bytes)?;
        let plan = self.plan.clone();
        Ok(Box::new(FaultEngine::new(inner, files.clone(), plan)))
    }
}
