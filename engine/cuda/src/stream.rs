//! Streams of a device.

use std::{
    cell::Cell,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    device::Device,
    driver::{Handle, Timing},
    error::DeviceError,
    event::Event,
    keep_alive::{KeepAlive, Used},
    kernels::Kernel,
    memory::{DeviceMemory, PinnedMemory},
};

thread_local! {
    /// Streams that this thread is capturing. Until it ends the captures it may free no memory of a device.
    static CAPTURES: Cell<usize> = const { Cell::new(0) };
}

impl Device {
    /// A new stream. Work in one of a lower `rank` goes first, where the device has so many ranks.
    ///
    /// # Errors
    /// A driver that refuses.
    pub fn stream(&self, rank: usize) -> Result<Stream, DeviceError> {
        Ok(Stream {
            handle: self.driver().stream(rank)?,
            device: self.clone(),
            is_ours: true,
            state: Mutex::default(),
        })
    }
}

/// Work of a device, done in order. Dropping a stream waits for its work.
///
/// A stream keeps memory that its work uses. It lets go of it in [`Self::synchronize`], and, when it is given more
/// work, of what events show to be done with.
pub struct Stream {
    handle: Handle,
    device: Device,
    is_ours: bool,
    /// Held while work is put in, so that whatever is kept is used by work before the next event.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keep_alive: KeepAlive,
    /// What the work of the graph uses, while the stream is being captured.
    captured: Option<Vec<Used>>,
    /// The stream's owner, if it is not ours.
    cudarc: Option<Arc<cudarc::driver::CudaStream>>,
}

impl Stream {
    /// A stream of somebody else, by the driver's handle (`CUstream`), such as PyTorch's current one.
    ///
    /// # Safety
    /// `handle` is a stream in the primary context of `device`, and lives as long as this value, which waits for its
    /// work when dropped. Whoever captures it does so by [`Self::capture`].
    pub unsafe fn from_handle(device: &Device, handle: u64) -> Self {
        Self {
            handle,
            device: device.clone(),
            is_ours: false,
            state: Mutex::default(),
        }
    }

    /// A stream of cudarc, such as candle's, in the primary context of `device`.
    ///
    /// # Errors
    /// A stream in another context.
    pub fn from_cudarc(
        device: &Device,
        stream: Arc<cudarc::driver::CudaStream>,
    ) -> Result<Self, DeviceError> {
        if device.driver().context() != Some(stream.context().cu_ctx() as u64) {
            return Err(DeviceError::OtherContext);
        }
        // SAFETY: the stream is in the device's context, and is kept as long as this value.
        let wrapper = unsafe { Self::from_handle(device, stream.cu_stream() as u64) };
        wrapper.state().cudarc = Some(stream);
        Ok(wrapper)
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The driver's handle (`CUstream`).
    pub fn handle(&self) -> u64 {
        self.handle
    }

    /// Waits until all work is done.
    ///
    /// # Errors
    /// Work that has failed, or a stream that is being captured.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        let used = {
            let mut state = self.state();
            if state.captured.is_some() {
                return Err(DeviceError::Captured);
            }
            mem::take(&mut state.keep_alive)
        };
        // SAFETY: the stream is there until this is dropped.
        let done = unsafe { self.device.driver().synchronize(self.handle) };
        if done.is_err() {
            // Nobody knows what the device still does with it.
            self.state().keep_alive.put_back(used);
        }
        done
    }

    /// The bytes of `memory`, once all work is done.
    ///
    /// # Errors
    /// Memory of another device, work that has failed, or no memory.
    pub fn read(&self, memory: &Arc<DeviceMemory>) -> Result<Vec<u8>, DeviceError> {
        self.check(memory.device())?;
        self.check_not_captured()?;
        let pinned = Arc::new(self.device.pinned(memory.bytes())?);
        // SAFETY: the stream keeps both. Whatever else uses them is ordered by streams.
        self.put([pinned.clone() as Used, memory.clone()], || unsafe {
            self.copy(memory.address(), pinned.address(), memory.bytes())
        })?;
        self.take(&pinned, memory.bytes())
    }

    /// The first `bytes` bytes of `pinned`, once all work is done. The stream keeps `pinned` where that fails.
    pub(crate) fn take(
        &self,
        pinned: &Arc<PinnedMemory>,
        bytes: usize,
    ) -> Result<Vec<u8>, DeviceError> {
        self.synchronize()?;
        // SAFETY: the work that wrote it is done.
        Ok(unsafe { pinned.as_slice() }[..bytes].to_vec())
    }

    /// Copies the first `bytes` bytes of `from` to `to`, `offset` bytes from its start, and waits for that. Where
    /// waiting fails the stream keeps both, and leaks them if they may still be in use when it is dropped.
    ///
    /// # Panics
    /// If `from` or `to` is too short.
    pub(crate) fn upload(
        &self,
        from: &Arc<PinnedMemory>,
        to: &Arc<DeviceMemory>,
        offset: usize,
        bytes: usize,
    ) -> Result<(), DeviceError> {
        let fits = bytes <= from.bytes() && offset + bytes <= to.bytes();
        assert!(fits, "a copy within the memory on both sides");
        // SAFETY: both ranges are in memory that the stream keeps. Callers write neither before this returns.
        self.put([from.clone() as Used, to.clone()], || unsafe {
            self.copy(from.address(), to.address() + offset as u64, bytes)
        })?;
        self.synchronize()
    }

    /// An event at the end of the work that is in the stream now.
    pub(crate) fn event(&self, timing: Timing) -> Result<Event, DeviceError> {
        let event = Event::new(&self.device, timing)?;
        self.record(&event)?;
        Ok(event)
    }

    /// Moves `event`, which is of the same device, to the end of the work that is in the stream now.
    pub(crate) fn record(&self, event: &Event) -> Result<(), DeviceError> {
        // SAFETY: the stream is there until this is dropped.
        unsafe { event.record(self.handle) }
    }

    /// Puts work in the stream, by `work`, which keeps what it uses until it is done.
    pub(crate) fn put<R>(
        &self,
        used: impl IntoIterator<Item = Used>,
        work: impl FnOnce() -> R,
    ) -> R {
        self.let_go();
        let mut state = self.state();
        match &mut state.captured {
            Some(captured) => captured.extend(used),
            None => state.keep_alive.add(used),
        }
        work()
    }

    /// Lets go of what finished work used, which may free memory.
    fn let_go(&self) {
        let mut state = self.state();
        let is_captured = state.captured.is_some() || CAPTURES.get() > 0;
        if is_captured || !state.keep_alive.needs_event() {
            return;
        }
        // Without an event the values live until there is one, or the stream is synchronized.
        let Ok(event) = self.event(Timing::Untimed) else {
            return;
        };
        state.keep_alive.follow_by(event);
        let done = state.keep_alive.take_done();
        drop(state);
        drop(done);
    }

    /// Begins to keep work for a graph instead of doing it.
    pub(crate) fn begin_capture(&self) -> Result<(), DeviceError> {
        let mut state = self.state();
        if state.captured.is_some() {
            return Err(DeviceError::Captured);
        }
        // SAFETY: the stream is there until this is dropped.
        unsafe { self.device.driver().begin_capture(self.handle) }?;
        state.captured = Some(Vec::new());
        CAPTURES.set(CAPTURES.get() + 1);
        Ok(())
    }

    /// Ends the capture that this thread has begun, and gives the graph and what its work uses.
    pub(crate) fn end_capture(&self) -> Result<(Handle, Vec<Used>), DeviceError> {
        let mut state = self.state();
        let used = state.captured.take().unwrap_or_default();
        CAPTURES.set(CAPTURES.get() - 1);
        // SAFETY: the stream is there until this is dropped, and has begun to be captured.
        let graph = unsafe { self.device.driver().end_capture(self.handle) }?;
        Ok((graph, used))
    }

    /// Refuses what a graph cannot repeat.
    pub(crate) fn check_not_captured(&self) -> Result<(), DeviceError> {
        if self.state().captured.is_some() {
            return Err(DeviceError::Captured);
        }
        Ok(())
    }

    /// Refuses what belongs to another device.
    pub(crate) fn check(&self, device: &Device) -> Result<(), DeviceError> {
        if self.device.is_same(device) {
            return Ok(());
        }
        Err(DeviceError::OtherDevice)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Safety
    /// As [`Driver::copy`](crate::driver::Driver::copy).
    pub(crate) unsafe fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<(), DeviceError> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the caller's promise.
        unsafe { self.device.driver().copy(self.handle, from, to, bytes) }
    }

    /// # Safety
    /// As [`Driver::launch`](crate::driver::Driver::launch).
    pub(crate) unsafe fn launch(&self, kernel: &Kernel) -> Result<(), DeviceError> {
        if kernel.threads() == 0 {
            return Ok(());
        }
        // SAFETY: the caller's promise.
        unsafe { self.device.driver().launch(self.handle, kernel) }
    }

    /// # Safety
    /// `memory` lives until the stream has passed this, and has a word at `index`.
    pub(crate) unsafe fn wait_for(
        &self,
        memory: &PinnedMemory,
        index: usize,
        value: u64,
    ) -> Result<(), DeviceError> {
        let word = memory.word(index).as_ptr() as u64;
        // SAFETY: the caller's promise.
        unsafe { self.device.driver().wait_for(self.handle, word, value) }
    }

    /// # Safety
    /// As [`Self::wait_for`].
    pub(crate) unsafe fn write(
        &self,
        memory: &PinnedMemory,
        index: usize,
        value: u64,
    ) -> Result<(), DeviceError> {
        let word = memory.word(index).as_ptr() as u64;
        // SAFETY: the caller's promise.
        unsafe { self.device.driver().write(self.handle, word, value) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Whoever wants to know of failed work has synchronized before. What that work used may be in use still.
        if self.synchronize().is_err() {
            mem::forget(mem::take(&mut *self.state()));
        }
        if self.is_ours {
            // SAFETY: ours, and nobody has it any more.
            unsafe { self.device.driver().destroy_stream(self.handle) };
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::faulty::Faulty;

    /// Copies within new memory, of which nobody keeps a reference but the stream.
    fn copy_in_new_memory(stream: &Stream) {
        let memory = Arc::new(stream.device.memory(64).unwrap());
        let (from, to) = (memory.address(), memory.address() + 32);
        // SAFETY: the stream keeps the memory, which nobody else uses.
        let put = stream.put([memory as Used], || unsafe { stream.copy(from, to, 32) });
        put.unwrap();
    }

    /// Waits for the stream's work as its owner would, who does not know of this wrapper.
    fn synchronize_elsewhere(stream: &Stream) {
        // SAFETY: the stream lives longer.
        let owner = unsafe { Stream::from_handle(&stream.device, stream.handle()) };
        owner.synchronize().unwrap();
    }

    fn faulty_stream() -> (Stream, Arc<Faulty>) {
        let (device, faulty) = Device::faulty();
        (device.stream(0).unwrap(), faulty)
    }

    #[test]
    fn memory_of_finished_work_is_freed_whoever_waits_for_it() {
        let (stream, faulty) = faulty_stream();
        let mut most = 0;
        for _ in 0..1_000 {
            copy_in_new_memory(&stream);
            synchronize_elsewhere(&stream);
            most = most.max(faulty.allocations());
        }
        assert!(most < 200, "{most} of 1,000 allocations at once");
        stream.synchronize().unwrap();
        assert_eq!(faulty.allocations(), 0);
    }

    #[test]
    fn memory_of_unfinished_work_is_kept() {
        let (stream, faulty) = faulty_stream();
        let gate = Arc::new(stream.device.pinned(8).unwrap());
        // SAFETY: the stream keeps the word.
        let put = stream.put([gate.clone() as Used], || unsafe {
            stream.wait_for(&gate, 0, 1)
        });
        put.unwrap();
        for _ in 0..500 {
            copy_in_new_memory(&stream);
        }
        assert_eq!(faulty.allocations(), 501);
        gate.word(0).store(1, std::sync::atomic::Ordering::Release);
        stream.synchronize().unwrap();
        drop(gate);
        assert_eq!(faulty.allocations(), 0);
    }

    #[test]
    fn a_thread_that_captures_frees_nothing() {
        let (stream, faulty) = faulty_stream();
        let other = stream.device.stream(0).unwrap();
        let graph = other.capture(|captured| {
            for _ in 0..500 {
                copy_in_new_memory(captured);
                copy_in_new_memory(&stream);
                synchronize_elsewhere(&stream);
            }
            assert_eq!(faulty.allocations(), 1_000);
            Ok(())
        });
        stream.synchronize().unwrap();
        // The graph's memory is its own for as long as it lives.
        assert_eq!(faulty.allocations(), 500);
        drop(graph.unwrap());
        assert_eq!(faulty.allocations(), 0);
    }

    #[test]
    fn memory_is_kept_where_waiting_fails_and_leaked_where_it_fails_to_the_end() {
        let (stream, faulty) = faulty_stream();
        let memory = Arc::new(stream.device.memory(64).unwrap());
        faulty.fail(Some("synchronize"));
        stream.read(&memory).unwrap_err();
        drop(memory);
        assert_eq!(
            faulty.allocations(),
            2,
            "the memory and what it is copied to"
        );
        faulty.fail(None);
        drop(stream);
        assert_eq!(faulty.allocations(), 0, "the work is done after all");

        let (stream, faulty) = faulty_stream();
        let memory = Arc::new(stream.device.memory(64).unwrap());
        faulty.fail(Some("synchronize"));
        stream.read(&memory).unwrap_err();
        drop((memory, stream));
        assert_eq!(faulty.allocations(), 2, "the device may use both for ever");
    }
}
