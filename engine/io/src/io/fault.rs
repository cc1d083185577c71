//! Files whose reads go wrong as planned.

use std::{path::Path, sync::Arc};

use super::{Access, Io};
use crate::{
    DirectFile, EngineRequest, FaultEngine, FaultPlan, FaultReader, IoError, MemoryReader, ReadAt,
    ReadEngine,
};

/// The files of another [`Io`], whose readers and engines have the faults of a plan. Opening a file has none; loading
/// it has those of its reads.
#[derive(Debug)]
pub struct FaultIo {
    inner: Arc<dyn Io>,
    plan: FaultPlan,
}

impl FaultIo {
    /// The files of `inner` with the faults of `plan`.
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
