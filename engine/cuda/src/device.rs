//! A device, whichever it is.

use std::sync::Arc;

use crate::{
    driver::{Driver, cuda::Cuda, host::Host},
    error::DeviceError,
};

/// A GPU, or what stands in for one. Clones are the same device.
#[derive(Debug, Clone)]
pub struct Device(Arc<dyn Driver>);

impl Device {
    /// The CUDA device with the number `ordinal`, in its primary context, which CUDA's runtime, PyTorch and candle use
    /// too. This loads the driver's library; nothing else of CUDA is needed.
    ///
    /// # Errors
    /// No driver, a driver older than R525 (CUDA 12.0), no such device, or one that cannot read host memory.
    pub fn cuda(ordinal: u32) -> Result<Self, DeviceError> {
        Ok(Self(Arc::new(Cuda::open(ordinal)?)))
    }

    /// A stand-in that gives on the host the results of a GPU, to the bit and in the same order: for tests, and for
    /// machines without a GPU. Each of its streams is a thread.
    pub fn host() -> Self {
        Self(Arc::new(Host::default()))
    }

    /// The stand-in with calls that fail, and what makes them fail.
    #[cfg(test)]
    pub(crate) fn faulty() -> (Self, Arc<crate::driver::faulty::Faulty>) {
        let faulty: Arc<crate::driver::faulty::Faulty> = Arc::default();
        (Self(faulty.clone()), faulty)
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.0.name()
    }

    pub(crate) fn driver(&self) -> &dyn Driver {
        &*self.0
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
