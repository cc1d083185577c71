//! Events: points in the work of a stream.

use crate::{
    device::Device,
    driver::{Handle, Timing},
    error::DeviceError,
};

/// A point in the work of a stream.
#[derive(Debug)]
pub(crate) struct Event {
    handle: Handle,
    device: Device,
}

impl Event {
    pub(crate) fn new(device: &Device, timing: Timing) -> Result<Self, DeviceError> {
        Ok(Self {
            handle: device.driver().event(timing)?,
            device: device.clone(),
        })
    }

    /// Moves the event to the end of the work that is in `stream` now.
    ///
    /// # Safety
    /// `stream` is of the same device and not destroyed yet.
    pub(crate) unsafe fn record(&self, stream: Handle) -> Result<(), DeviceError> {
        // SAFETY: the event is there until this is dropped; the rest is the caller's promise.
        unsafe { self.device.driver().record(self.handle, stream) }
    }

    /// Whether the stream has passed the event.
    pub(crate) fn is_passed(&self) -> Result<bool, DeviceError> {
        // SAFETY: the event is there until this is dropped.
        unsafe { self.device.driver().is_passed(self.handle) }
    }

    /// Waits until both events have passed, and gives the time from this one to `end`, which is of the same device.
    /// Both were made to be timed.
    #[cfg(feature = "bench")]
    pub(crate) fn elapsed(&self, end: &Self) -> Result<std::time::Duration, DeviceError> {
        // SAFETY: both events are there until they are dropped.
        unsafe { self.device.driver().elapsed(self.handle, end.handle) }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: nobody else has the handle.
        unsafe { self.device.driver().destroy_event(self.handle) };
    }
}
