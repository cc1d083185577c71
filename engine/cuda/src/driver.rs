//! The calls that a device answers, whichever it is.

pub(crate) mod cuda;
#[cfg(test)]
pub(crate) mod faulty;
pub(crate) mod host;

use std::{fmt::Debug, ptr::NonNull};

use crate::{error::DeviceError, kernels::Kernel};

/// A stream, an event or a graph of a driver.
pub(crate) type Handle = u64;

/// Whether the time between two events can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timing {
    Timed,
    Untimed,
}

/// The work of a device is put in streams. A stream does its work in order, and different streams at once. Addresses
/// are those of a unified address space: pinned host memory has one address for host and device.
///
/// # Safety
/// Allocated memory stays where it is until it is freed, and pinned memory is zeroed.
pub(crate) unsafe trait Driver: Debug + Send + Sync {
    fn name(&self) -> String;

    /// The handle of a GPU's context (`CUcontext`), which the stand-in does not have.
    fn context(&self) -> Option<u64>;

    /// Whether a stream can wait until a word of memory has a value.
    fn streams_wait_for_values(&self) -> bool;

    fn device_memory(&self, bytes: usize) -> Result<u64, DeviceError>;

    /// # Safety
    /// `address` is that of an allocation of `bytes` bytes of device memory, which nothing uses any more.
    unsafe fn free_device_memory(&self, address: u64, bytes: usize);

    fn pinned_memory(&self, bytes: usize) -> Result<NonNull<u8>, DeviceError>;

    /// # Safety
    /// `address` is that of an allocation of `bytes` bytes of pinned memory, which nothing uses any more.
    unsafe fn free_pinned_memory(&self, address: NonNull<u8>, bytes: usize);

    /// Lets the device read host memory, at the address that this gives. Refuses memory that is registered already.
    ///
    /// # Safety
    /// The memory stays mapped until it is unregistered, and can be written if `is_writable`.
    unsafe fn register(
        &self,
        address: *const u8,
        bytes: usize,
        is_writable: bool,
    ) -> Result<u64, DeviceError>;

    /// # Safety
    /// The memory is registered and no work in a stream reads it.
    unsafe fn unregister(&self, address: *const u8);

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

    /// An event that is in no stream yet.
    fn event(&self, timing: Timing) -> Result<Handle, DeviceError>;

    /// Moves the event to the end of the work that is in the stream now.
    ///
    /// # Safety
    /// As for [`Self::destroy_stream`].
    unsafe fn record(&self, event: Handle, stream: Handle) -> Result<(), DeviceError>;

    /// Whether the work before the event is done.
    ///
    /// # Safety
    /// As for [`Self::destroy_stream`].
    unsafe fn is_passed(&self, event: Handle) -> Result<bool, DeviceError>;

    /// The time from one timed event to a later one, once both have passed.
    ///
    /// # Safety
    /// As for [`Self::destroy_stream`].
    #[cfg(feature = "bench")]
    unsafe fn elapsed(
        &self,
        start: Handle,
        end: Handle,
    ) -> Result<std::time::Duration, DeviceError>;

    /// # Safety
    /// As for [`Self::destroy_stream`].
    unsafe fn destroy_event(&self, event: Handle);

    /// Begins to keep the work that is put in the stream for a graph, instead of doing it.
    ///
    /// # Safety
    /// As for [`Self::destroy_stream`].
    unsafe fn begin_capture(&self, stream: Handle) -> Result<(), DeviceError>;

    /// Ends a capture, and gives the work since [`Self::begin_capture`] as a graph.
    ///
    /// # Safety
    /// As for [`Self::destroy_stream`].
    unsafe fn end_capture(&self, stream: Handle) -> Result<Handle, DeviceError>;

    /// Puts all work of a graph in a stream.
    ///
    /// # Safety
    /// What its work asked for when it was captured holds now.
    unsafe fn launch_graph(&self, graph: Handle, stream: Handle) -> Result<(), DeviceError>;

    /// # Safety
    /// As for [`Self::destroy_stream`].
    unsafe fn destroy_graph(&self, graph: Handle);
}
