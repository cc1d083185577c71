//! For the benchmarks of this library alone: plain copies to hold everything else against, idle work, and times.
//!
//! No part of the public interface: it may change at any time.

use std::{sync::Arc, time::Duration};

use crate::{
    device::Device,
    driver::Timing,
    error::DeviceError,
    event::Event,
    keep_alive::Used,
    kernels::Kernel,
    memory::{DeviceMemory, PinnedMemory},
    stream::Stream,
};

/// Copies of the driver's, between fixed memory.
#[derive(Debug)]
pub struct Transfer {
    memory: Arc<Memory>,
}

#[derive(Debug)]
struct Memory {
    pinned: PinnedMemory,
    device: [DeviceMemory; 2],
}

impl Transfer {
    /// Memory for copies of up to `max_bytes` bytes.
    ///
    /// # Errors
    /// No memory, or no bytes.
    pub fn new(device: &Device, max_bytes: usize) -> Result<Self, DeviceError> {
        let memory = Memory {
            pinned: device.pinned(max_bytes)?,
            device: [device.memory(max_bytes)?, device.memory(max_bytes)?],
        };
        Ok(Self {
            memory: Arc::new(memory),
        })
    }

    /// Copies `bytes` bytes from pinned to device memory in `stream`.
    ///
    /// # Errors
    /// More bytes than there is memory for, a stream of another device, or a driver that refuses.
    pub fn host_to_device_on(&self, stream: &Stream, bytes: usize) -> Result<(), DeviceError> {
        let from = self.memory.pinned.address();
        self.copy_on(stream, from, self.memory.device[0].address(), bytes)
    }

    /// Copies `bytes` bytes within device memory in `stream`.
    ///
    /// # Errors
    /// As [`Self::host_to_device_on`].
    pub fn in_device_on(&self, stream: &Stream, bytes: usize) -> Result<(), DeviceError> {
        let [from, to] = &self.memory.device;
        self.copy_on(stream, from.address(), to.address(), bytes)
    }

    fn copy_on(
        &self,
        stream: &Stream,
        from: u64,
        to: u64,
        bytes: usize,
    ) -> Result<(), DeviceError> {
        let max = self.memory.pinned.bytes();
        if bytes > max {
            return Err(DeviceError::CopyTooLong { found: bytes, max });
        }
        stream.check(self.memory.device[0].device())?;
        // SAFETY: the stream keeps the memory, which nothing else uses but other copies of the same.
        stream.put([self.memory.clone() as Used], || unsafe {
            stream.copy(from, to, bytes)
        })
    }
}

impl Stream {
    /// Keeps the stream busy for a while, as computation would.
    ///
    /// # Errors
    /// A driver that refuses.
    pub fn spin(&self, time: Duration) -> Result<(), DeviceError> {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // SAFETY: it uses no memory.
        unsafe { self.launch(&Kernel::Spin(nanoseconds)) }
    }
}

/// Measures the time that a device takes for the work of a stream.
#[derive(Debug)]
pub struct Stopwatch {
    start: Event,
    device: Device,
}

impl Stopwatch {
    /// Starts when the work that is in `stream` now is done.
    ///
    /// # Errors
    /// A driver that refuses.
    pub fn start(stream: &Stream) -> Result<Self, DeviceError> {
        Ok(Self {
            start: stream.event(Timing::Timed)?,
            device: stream.device().clone(),
        })
    }

    /// Waits until the work that is in `stream` now is done, and gives the time since the start.
    ///
    /// # Errors
    /// Work that has failed, a stream of another device, or a driver that refuses.
    pub fn stop(self, stream: &Stream) -> Result<Duration, DeviceError> {
        stream.check(&self.device)?;
        self.start.elapsed(&stream.event(Timing::Timed)?)
    }
}
