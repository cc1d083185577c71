//! For tests: the stand-in with calls that fail, and a count of the memory that is allocated.

use std::{
    ptr::NonNull,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Driver, Handle, Timing, host::Host};
use crate::{error::DeviceError, kernels::Kernel};

/// A stand-in whose calls fail where tests say so.
#[derive(Debug, Default)]
pub(crate) struct Faulty {
    host: Host,
    /// Each call of this name fails.
    failing: Mutex<Option<&'static str>>,
    /// Allocations of both kinds that have not been freed.
    allocations: AtomicUsize,
}

impl Faulty {
    /// Lets each `call` fail from now on, or none.
    pub(crate) fn fail(&self, call: Option<&'static str>) {
        *self.failing.lock().unwrap() = call;
    }

    pub(crate) fn allocations(&self) -> usize {
        self.allocations.load(Ordering::Relaxed)
    }

    fn check(&self, call: &'static str) -> Result<(), DeviceError> {
        if *self.failing.lock().unwrap() == Some(call) {
            let message = "as the test wants".into();
            return Err(DeviceError::Call { call, message });
        }
        Ok(())
    }

    fn count<T>(&self, allocated: Result<T, DeviceError>) -> Result<T, DeviceError> {
        allocated.inspect(|_| {
            self.allocations.fetch_add(1, Ordering::Relaxed);
        })
    }
}

// SAFETY: each call is that of the stand-in, or does nothing.
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "all hand on the caller's promise"
)]
unsafe impl Driver for Faulty {
    fn name(&self) -> String {
        self.host.name()
    }

    fn context(&self) -> Option<u64> {
        self.host.context()
    }

    fn streams_wait_for_values(&self) -> bool {
        self.host.streams_wait_for_values()
    }

    fn device_memory(&self, bytes: usize) -> Result<u64, DeviceError> {
        self.count(self.host.device_memory(bytes))
    }

    unsafe fn free_device_memory(&self, address: u64, bytes: usize) {
        self.allocations.fetch_sub(1, Ordering::Relaxed);
        unsafe { self.host.free_device_memory(address, bytes) }
    }

    fn pinned_memory(&self, bytes: usize) -> Result<NonNull<u8>, DeviceError> {
        self.count(self.host.pinned_memory(bytes))
    }

    unsafe fn free_pinned_memory(&self, address: NonNull<u8>, bytes: usize) {
        self.allocations.fetch_sub(1, Ordering::Relaxed);
        unsafe { self.host.free_pinned_memory(address, bytes) }
    }

    unsafe fn register(
        &self,
        address: *const u8,
        bytes: usize,
        is_writable: bool,
    ) -> Result<u64, DeviceError> {
        unsafe { self.host.register(address, bytes, is_writable) }
    }

    unsafe fn unregister(&self, address: *const u8) {
        unsafe { self.host.unregister(address) }
    }

    fn stream(&self, rank: usize) -> Result<Handle, DeviceError> {
        self.host.stream(rank)
    }

    unsafe fn destroy_stream(&self, stream: Handle) {
        unsafe { self.host.destroy_stream(stream) }
    }

    unsafe fn synchronize(&self, stream: Handle) -> Result<(), DeviceError> {
        self.check("synchronize")?;
        unsafe { self.host.synchronize(stream) }
    }

    unsafe fn copy(
        &self,
        stream: Handle,
        from: u64,
        to: u64,
        bytes: usize,
    ) -> Result<(), DeviceError> {
        unsafe { self.host.copy(stream, from, to, bytes) }
    }

    unsafe fn launch(&self, stream: Handle, kernel: &Kernel) -> Result<(), DeviceError> {
        self.check("launch")?;
        unsafe { self.host.launch(stream, kernel) }
    }

    unsafe fn wait_for(&self, stream: Handle, word: u64, value: u64) -> Result<(), DeviceError> {
        unsafe { self.host.wait_for(stream, word, value) }
    }

    unsafe fn write(&self, stream: Handle, word: u64, value: u64) -> Result<(), DeviceError> {
        self.check("write")?;
        unsafe { self.host.write(stream, word, value) }
    }

    fn event(&self, timing: Timing) -> Result<Handle, DeviceError> {
        self.host.event(timing)
    }

    unsafe fn record(&self, event: Handle, stream: Handle) -> Result<(), DeviceError> {
        unsafe { self.host.record(event, stream) }
    }

    unsafe fn is_passed(&self, event: Handle) -> Result<bool, DeviceError> {
        unsafe { self.host.is_passed(event) }
    }

    #[cfg(feature = "bench")]
    unsafe fn elapsed(
        &self,
        start: Handle,
        end: Handle,
    ) -> Result<std::time::Duration, DeviceError> {
        unsafe { self.host.elapsed(start, end) }
    }

    unsafe fn destroy_event(&self, event: Handle) {
        unsafe { self.host.destroy_event(event) }
    }

    unsafe fn begin_capture(&self, stream: Handle) -> Result<(), DeviceError> {
        unsafe { self.host.begin_capture(stream) }
    }

    unsafe fn end_capture(&self, stream: Handle) -> Result<Handle, DeviceError> {
        unsafe { self.host.end_capture(stream) }
    }

    unsafe fn launch_graph(&self, graph: Handle, stream: Handle) -> Result<(), DeviceError> {
        unsafe { self.host.launch_graph(graph, stream) }
    }

    unsafe fn destroy_graph(&self, graph: Handle) {
        unsafe { self.host.destroy_graph(graph) }
    }
}
