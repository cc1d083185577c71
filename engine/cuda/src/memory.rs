//! Memory of a device, and host memory that a device can use.

use std::{ptr::NonNull, sync::atomic::AtomicU64};

use engram::BufferMemory;

use crate::{device::Device, error::DeviceError};

impl Device {
    /// Memory of the device, not initialised.
    ///
    /// # Errors
    /// Out of memory, or 0 bytes.
    pub fn memory(&self, bytes: usize) -> Result<DeviceMemory, DeviceError> {
        if bytes == 0 {
            return Err(DeviceError::EmptyMemory);
        }
        Ok(DeviceMemory {
            address: self.driver().device_memory(bytes)?,
            bytes,
            device: self.clone(),
        })
    }

    /// Zeroed host memory that the device can read and write.
    ///
    /// # Errors
    /// As [`Self::memory`].
    pub fn pinned(&self, bytes: usize) -> Result<PinnedMemory, DeviceError> {
        if bytes == 0 {
            return Err(DeviceError::EmptyMemory);
        }
        Ok(PinnedMemory {
            address: self.driver().pinned_memory(bytes)?.cast(),
            bytes,
            device: self.clone(),
        })
    }
}

/// Memory of a device, freed when dropped.
#[derive(Debug)]
pub struct DeviceMemory {
    address: u64,
    bytes: usize,
    device: Device,
}

impl DeviceMemory {
    /// Its address on the device, a multiple of 256.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        let driver = self.device.driver();
        // SAFETY: allocated by this driver; streams keep the memory that their work uses.
        unsafe { driver.free_device_memory(self.address, self.bytes) };
    }
}

/// Host memory that a device can read and write, freed when dropped.
#[derive(Debug)]
pub struct PinnedMemory {
    /// A multiple of 256.
    address: NonNull<u64>,
    bytes: usize,
    device: Device,
}

// SAFETY: the memory is this value's alone; what refers to its bytes borrows it or is atomic.
unsafe impl Send for PinnedMemory {}
// SAFETY: as above.
unsafe impl Sync for PinnedMemory {}

impl PinnedMemory {
    /// Its address, for host and device, a multiple of 256.
    pub fn address(&self) -> u64 {
        self.address.as_ptr() as u64
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes.
    ///
    /// # Safety
    /// No device writes them as long as they are borrowed.
    pub(crate) unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: so many initialised bytes, borrowed as long as this value; the rest is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr().cast(), self.bytes) }
    }

    /// The bytes, while no device uses them.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: so many initialised bytes, borrowed as long as this value. That no device uses them is for the
        // callers in this crate to know, as their comments say.
        unsafe { std::slice::from_raw_parts_mut(self.address.as_ptr().cast(), self.bytes) }
    }

    /// As [`Self::as_mut_slice`], as u64.
    pub(crate) fn as_mut_words(&mut self) -> &mut [u64] {
        // SAFETY: as above; the address is a multiple of 8, and any bits make a u64.
        unsafe {
            std::slice::from_raw_parts_mut(self.address.as_ptr(), self.bytes / size_of::<u64>())
        }
    }

    /// The word at `index`, which a device may write at any time.
    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        assert!(
            index < self.bytes / size_of::<u64>(),
            "a word of this memory"
        );
        // SAFETY: it lies in the memory, at a multiple of 8; host and device access it atomically alone.
        unsafe { AtomicU64::from_ptr(self.address.as_ptr().add(index)) }
    }
}

impl Drop for PinnedMemory {
    fn drop(&mut self) {
        let driver = self.device.driver();
        // SAFETY: allocated by this driver; streams keep the memory that their work uses.
        unsafe { driver.free_pinned_memory(self.address.cast(), self.bytes) };
    }
}

// SAFETY: it is zeroed and stays where it is; `Device::pinned` gives it to one owner, who has given it away here.
unsafe impl BufferMemory for PinnedMemory {
    fn address(&self) -> *mut u8 {
        self.address.as_ptr().cast()
    }

    fn len(&self) -> usize {
        self.bytes
    }
}
