//! Plain copies, to hold everything else against.

use std::sync::Arc;

use crate::{
    device::{Device, DeviceMemory, PinnedMemory, Stream},
    error::{DeviceError, expect},
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
    /// Memory for copies of up to `bytes` bytes.
    ///
    /// # Errors
    /// No memory, or no bytes.
    pub fn new(device: &Device, bytes: usize) -> Result<Self, DeviceError> {
        let memory = Memory {
            pinned: device.pinned(bytes)?,
            device: [device.memory(bytes)?, device.memory(bytes)?],
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
        let most = self.memory.pinned.bytes();
        expect(
            bytes <= most,
            "bytes to copy",
            bytes,
            format!("at most {most}"),
        )?;
        stream.check(self.memory.pinned.device())?;
        stream.keep(self.memory.clone());
        // SAFETY: the stream keeps the memory, which nothing else uses but other copies of the same.
        unsafe { stream.copy(from, to, bytes) }
    }
}
