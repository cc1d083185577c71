//! What is asked of a device, whichever it is.

mod cuda;
mod host;

use std::{fmt::Debug, ptr::NonNull, time::Duration};

pub(crate) use cuda::Cuda;
pub(crate) use host::Host;

use crate::{error::DeviceError, kernels::Kernel};

/// A stream, an event or a graph of a driver.
pub(crate) type Handle = u64;

/// A device's work is put in streams, each done in order, different ones at once. Addresses are those of a unified
/// address space: pinned host memory has one address for host and device.
///
/// # Safety
/// Memory that is handed out stays where it is until it is given back, and pinned memory is zeroed.
pub(crate) unsafe trait Driver: Debug + Send + Sync {
    fn name(&self) -> String;

    /// The handle of a GPU's context (`CUcontext`); none of what stands in for one.
    fn context(&self) -> Option<u64>;

    /// Whether a stream can wait until a word of memory has a value.
    fn streams_wait_for_values(&self) -> bool;

    fn device_memory(&self, bytes: usize) -> Result<u64, DeviceError>;

    /// # Safety
    /// `address` is of device memory of so many `bytes` that nothing uses any more.
    unsafe fn free_device_memory(&self, address: u64, bytes: usize);

    fn pinned_memory(&self, bytes: usize) -> Result<NonNull<u8>, DeviceError>;

    /// # Safety
    /// `address` is of pinned memory of so many `bytes` that nothing uses any more.
    unsafe fn free_pinned_memory(&self, address: NonNull<u8>, bytes: usize);

    /// Lets the device read host memory, at the address that this gives; once until it is forgotten.
    ///
    /// # Safety
    /// The memory stays mapped until it is forgotten, and can be written if `is_writable`.
    unsafe fn register(
        &self,
        address: *const u8,
        bytes: usize,
        is_writable: bool,
    ) -> Result<u64, DeviceError>;

    /// # Safety
    /// The memory is registered and no work in a stream reads it.
    unsafe fn forget(&self, address: *const u8);

    /// A new stream. Of two with work to do, the one of lower `rank` goes first, where the device has so many ranks.
    fn stream(&self, rank: usize) -> Result<Handle, DeviceError>;

    /// # Safety
    /// Here and below handles are of this driver and not destroyed yet.
    unsafe fn destroy_stream(&self, stream: Handle);

    /// Waits until all work of a stream is done, and tells whether any has failed.
    ///
    /// # Safety
    /// As above.
    unsafe fn synchronize(&self, stream: Handle) -> Result<(), DeviceError>;

    /// # Safety
    /// Both ranges are memory of this driver (or `from` is registered with it), live and untouched by anybody else
    /// until the copy is done; `to` is not in use.
    unsafe fn copy(
        &self,
        stream: Handle,
        from: u64,
        to: u64,
        bytes: usize,
    ) -> Result<(), DeviceError>;

    /// # Safety
    /// As for [`Self::copy`], for every address that the kernel reads and writes.
    unsafe fn launch(&self, stream: Handle, kernel: &Kernel) -> Result<(), DeviceError>;

    /// Lets the stream wait until the word has the value.
    ///
    /// # Safety
    /// `word` is of a u64 in pinned memory that lives until then.
    unsafe fn wait_for(&self, stream: Handle, word: u64, value: u64) -> Result<(), DeviceError>;

    /// Writes the word once all work before is done and can be seen.
    ///
    /// # Safety
    /// As for [`Self::wait_for`].
    unsafe fn write(&self, stream: Handle, word: u64, value: u64) -> Result<(), DeviceError>;

    /// A mark that no stream has passed.
    fn mark(&self) -> Result<Handle, DeviceError>;

    /// Lets the mark be passed, once more, when the work before is done.
    ///
    /// # Safety
    /// As for [`Self::destroy_stream`].
    unsafe fn record(&self, mark: Handle, stream: Handle) -> Result<(), DeviceError>;

    /// From one mark to a later one, once both have passed.
    ///
    /// # Safety
    /// As for [`Self::destroy_stream`].
    unsafe fn between(&self, start: Handle, end: Handle) -> Result<Duration, DeviceError>;

    /// # Safety
    /// As for [`Self::destroy_stream`].
    unsafe fn destroy_mark(&self, mark: Handle);

    /// From here on work put in the stream is not done, but kept for a graph.
    ///
    /// # Safety
    /// As for [`Self::destroy_stream`].
    unsafe fn begin_capture(&self, stream: Handle) -> Result<(), DeviceError>;

    /// The work since [`Self::begin_capture`].
    ///
    /// # Safety
    /// As for [`Self::destroy_stream`].
    unsafe fn end_capture(&self, stream: Handle) -> Result<Handle, DeviceError>;

    /// Puts all work of a graph in a stream.
    ///
    /// # Safety
    /// What was said of the work when it was captured holds now.
    unsafe fn launch_graph(&self, graph: Handle, stream: Handle) -> Result<(), DeviceError>;

    /// # Safety
    /// As for [`Self::destroy_stream`].
    unsafe fn destroy_graph(&self, graph: Handle);
}
