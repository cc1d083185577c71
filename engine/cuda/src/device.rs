//! A device, its memory and its streams.

use std::{
    fmt, mem,
    ptr::NonNull,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use engram::RowMemory;

use crate::{
    driver::{Cuda, Driver, Handle, Host},
    error::{DeviceError, expect},
    kernels::Kernel,
};

/// A GPU, or what stands in for one. Clones are the same device.
#[derive(Debug, Clone)]
pub struct Device(Arc<dyn Driver>);

impl Device {
    /// The CUDA device with the number `ordinal`, in its primary context, which CUDA's runtime, PyTorch and candle use
    /// too. The driver's library is loaded now; nothing else of CUDA is needed.
    ///
    /// # Errors
    /// No driver, no such device, one that cannot read host memory, or a driver older than R525 (CUDA 12.0).
    pub fn cuda(ordinal: u32) -> Result<Self, DeviceError> {
        Ok(Self(Arc::new(Cuda::open(ordinal)?)))
    }

    /// A stand-in that does on the host what a GPU would do, to the bit and in the same order: for tests, and for
    /// machines without a GPU. Each of its streams is a thread.
    pub fn host() -> Self {
        Self(Arc::new(Host::default()))
    }

    /// What it is called.
    pub fn name(&self) -> String {
        self.0.name()
    }

    /// A new stream. Work in one of a lower `rank` goes first, where the device has so many ranks.
    ///
    /// # Errors
    /// A driver that refuses.
    pub fn stream(&self, rank: usize) -> Result<Stream, DeviceError> {
        Ok(Stream {
            handle: self.0.stream(rank)?,
            device: self.clone(),
            is_ours: true,
            is_captured: AtomicBool::new(false),
            kept: Mutex::default(),
        })
    }

    /// Memory of the device.
    ///
    /// # Errors
    /// No memory, or none asked for.
    pub fn memory(&self, bytes: usize) -> Result<DeviceMemory, DeviceError> {
        expect(bytes > 0, "bytes of device memory", bytes, "1 or more")?;
        Ok(DeviceMemory {
            address: self.0.device_memory(bytes)?,
            bytes,
            device: self.clone(),
        })
    }

    /// Zeroed host memory that the device can read and write.
    ///
    /// # Errors
    /// As [`Self::memory`].
    pub fn pinned(&self, bytes: usize) -> Result<PinnedMemory, DeviceError> {
        expect(bytes > 0, "bytes of pinned memory", bytes, "1 or more")?;
        Ok(PinnedMemory {
            address: self.0.pinned_memory(bytes)?.cast(),
            bytes,
            device: self.clone(),
        })
    }

    pub(crate) fn driver(&self) -> &dyn Driver {
        &*self.0
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Memory of a device, given back when dropped.
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

    /// Bytes it has.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        // SAFETY: of this driver; streams keep the memory that their work uses.
        unsafe { self.device.0.free_device_memory(self.address, self.bytes) };
    }
}

/// Host memory that a device can read and write, given back when dropped.
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

    /// Bytes it has.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// The bytes, while no device uses them.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: so many initialised bytes, borrowed as long as this value. That no device uses them is for the callers
        // in this crate to know, as their comments say.
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
        // SAFETY: of this driver; streams keep the memory that their work uses.
        unsafe {
            self.device
                .0
                .free_pinned_memory(self.address.cast(), self.bytes)
        };
    }
}

// SAFETY: it is zeroed and stays where it is; `Device::pinned` gives it to one owner, who has given it away here.
unsafe impl RowMemory for PinnedMemory {
    fn address(&self) -> *mut u8 {
        self.address.as_ptr().cast()
    }

    fn len(&self) -> usize {
        self.bytes
    }
}

/// What must live as long as work that uses it.
type Used = Vec<Arc<dyn Send + Sync>>;

/// What a stream keeps.
#[derive(Default)]
struct Kept {
    /// For the work that is in it.
    until_done: Used,
    /// Its owner, if that is somebody else.
    whole_life: Option<Arc<cudarc::driver::CudaStream>>,
}

/// Work of a device, done in order. When dropped it waits for all of it.
pub struct Stream {
    handle: Handle,
    device: Device,
    is_ours: bool,
    /// Whether what is put in is kept for a graph.
    is_captured: AtomicBool,
    kept: Mutex<Kept>,
}

impl Stream {
    /// A stream of somebody else, by the driver's handle (`CUstream`), such as PyTorch's current one.
    ///
    /// # Safety
    /// `handle` is a stream in the primary context of `device`, and lives as long as this value, which waits for its work
    /// when dropped.
    pub unsafe fn of(device: &Device, handle: u64) -> Self {
        Self {
            handle,
            device: device.clone(),
            is_ours: false,
            is_captured: AtomicBool::new(false),
            kept: Mutex::default(),
        }
    }

    /// A stream of cudarc, such as candle's, in the primary context of `device`.
    ///
    /// # Errors
    /// A stream of another device.
    pub fn of_cudarc(
        device: &Device,
        stream: Arc<cudarc::driver::CudaStream>,
    ) -> Result<Self, DeviceError> {
        if device.0.context() != Some(stream.context().cu_ctx() as u64) {
            return Err(DeviceError::Unsupported {
                device: device.name(),
                what: "work in streams of another context",
            });
        }
        // SAFETY: the stream is in the device's context, and is kept as long as this value.
        let of_both = unsafe { Self::of(device, stream.cu_stream() as u64) };
        of_both.kept().whole_life = Some(stream);
        Ok(of_both)
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
        self.check_not_captured()?;
        // What is put in meanwhile keeps what it uses beside this.
        let used = mem::take(&mut self.kept().until_done);
        // SAFETY: the stream is there until this is dropped.
        let done = unsafe { self.device.0.synchronize(self.handle) };
        if done.is_err() {
            self.kept().until_done.extend(used);
        }
        done
    }

    /// Refuses what a graph cannot do again and again.
    pub(crate) fn check_not_captured(&self) -> Result<(), DeviceError> {
        if self.is_captured.load(Ordering::Acquire) {
            return Err(DeviceError::Captured);
        }
        Ok(())
    }

    /// The bytes of `memory`, once all work is done.
    ///
    /// # Errors
    /// Memory of another device, work that has failed, or no memory.
    pub fn read(&self, memory: &DeviceMemory) -> Result<Vec<u8>, DeviceError> {
        self.check(&memory.device)?;
        self.check_not_captured()?;
        let pinned = self.device.pinned(memory.bytes)?;
        // SAFETY: both are borrowed or ours until the stream has been waited for.
        let copied = unsafe { self.copy(memory.address, pinned.address(), memory.bytes) };
        self.take(pinned, memory.bytes, copied)
    }

    /// The first `bytes` bytes of `pinned`, once all work is done, which may include a copy to it.
    pub(crate) fn take(
        &self,
        mut pinned: PinnedMemory,
        bytes: usize,
        copied: Result<(), DeviceError>,
    ) -> Result<Vec<u8>, DeviceError> {
        if let Err(error) = self.synchronize() {
            // Who knows what the device still does with it.
            mem::forget(pinned);
            return Err(error);
        }
        copied?;
        Ok(pinned.as_mut_slice()[..bytes].to_vec())
    }

    /// Keeps the stream busy for a while, as computation would.
    ///
    /// # Errors
    /// A driver that refuses.
    pub fn spin(&self, time: Duration) -> Result<(), DeviceError> {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // SAFETY: it uses no memory.
        unsafe { self.launch(&Kernel::Spin(nanoseconds)) }
    }

    /// A mark of when the work so far is done.
    ///
    /// # Errors
    /// A driver that refuses.
    pub fn mark(&self) -> Result<Mark, DeviceError> {
        let mark = Mark::new(&self.device)?;
        self.record(&mark)?;
        Ok(mark)
    }

    /// Lets `mark`, of the same device, be passed here.
    pub(crate) fn record(&self, mark: &Mark) -> Result<(), DeviceError> {
        // SAFETY: both are there until they are dropped.
        unsafe { self.device.0.record(mark.handle, self.handle) }
    }

    /// The work that `put` puts in this stream, which is not done now but each time the graph is launched.
    ///
    /// Of this library, a [`Port`](crate::Port) may be waited for, copied and released, and time spun away.
    ///
    /// # Errors
    /// Those of `put`, a stream that is being captured already, or a driver that refuses.
    pub fn capture(
        &self,
        put: impl FnOnce(&Self) -> Result<(), DeviceError>,
    ) -> Result<Graph, DeviceError> {
        self.check_not_captured()?;
        // SAFETY: the stream is there until this is dropped.
        unsafe { self.device.0.begin_capture(self.handle) }?;
        let outside = mem::take(&mut self.kept().until_done);
        self.is_captured.store(true, Ordering::Release);
        let mut capture = Capture {
            stream: self,
            outside,
        };
        put(self)?;
        capture.end()
    }

    /// Puts the work of `graph` in this stream.
    ///
    /// # Errors
    /// A graph of another device, or a driver that refuses.
    pub fn launch_graph(&self, graph: &Arc<Graph>) -> Result<(), DeviceError> {
        self.check(&graph.device)?;
        self.check_not_captured()?;
        self.keep(graph.clone());
        // SAFETY: what the graph uses lives as long as it, and this stream keeps it.
        unsafe { self.device.0.launch_graph(graph.handle, self.handle) }
    }

    /// Refuses what belongs to another device.
    pub(crate) fn check(&self, device: &Device) -> Result<(), DeviceError> {
        if self.device.is_same(device) {
            return Ok(());
        }
        Err(DeviceError::Unsupported {
            device: self.device.name(),
            what: "use what another device has, or another `Device` for the same one",
        })
    }

    /// Lets `used` live until the work is done.
    pub(crate) fn keep(&self, used: Arc<dyn Send + Sync>) {
        let mut kept = self.kept();
        let is_used =
            |kept: &Arc<dyn Send + Sync>| std::ptr::addr_eq(Arc::as_ptr(kept), Arc::as_ptr(&used));
        if !kept.until_done.iter().any(is_used) {
            kept.until_done.push(used);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Safety
    /// As [`Driver::copy`].
    pub(crate) unsafe fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<(), DeviceError> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the caller's promise.
        unsafe { self.device.0.copy(self.handle, from, to, bytes) }
    }

    /// # Safety
    /// As [`Driver::launch`].
    pub(crate) unsafe fn launch(&self, kernel: &Kernel) -> Result<(), DeviceError> {
        if kernel.threads() == 0 {
            return Ok(());
        }
        // SAFETY: the caller's promise.
        unsafe { self.device.0.launch(self.handle, kernel) }
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
        unsafe { self.device.0.wait_for(self.handle, word, value) }
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
        unsafe { self.device.0.write(self.handle, word, value) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Whoever wants to know of failed work has synchronized before; what it used may be in use still.
        if self.synchronize().is_err() {
            mem::forget(mem::take(&mut *self.kept()));
        }
        if self.is_ours {
            // SAFETY: ours, and nobody has it any more.
            unsafe { self.device.0.destroy_stream(self.handle) };
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

/// When a stream was at a place.
#[derive(Debug)]
pub struct Mark {
    handle: Handle,
    device: Device,
}

impl Mark {
    pub(crate) fn new(device: &Device) -> Result<Self, DeviceError> {
        Ok(Self {
            handle: device.0.mark()?,
            device: device.clone(),
        })
    }

    /// Waits until both are passed, and gives the time from this one to `end`.
    ///
    /// # Errors
    /// Work that has failed, a mark of another device, or one that no stream has.
    pub fn until(&self, end: &Self) -> Result<Duration, DeviceError> {
        if !self.device.is_same(&end.device) {
            return Err(DeviceError::Unsupported {
                device: self.device.name(),
                what: "compare its marks with those of another device",
            });
        }
        // SAFETY: both are of this driver, and there until they are dropped.
        unsafe { self.device.0.between(self.handle, end.handle) }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // SAFETY: ours, and nobody has it any more.
        unsafe { self.device.0.destroy_mark(self.handle) };
    }
}

/// Work that was captured, to be done again and again.
pub struct Graph {
    handle: Handle,
    device: Device,
    #[expect(dead_code, reason = "held for the work")]
    used: Used,
}

/// A stream that is being captured, whatever happens.
struct Capture<'a> {
    stream: &'a Stream,
    /// What work before the capture uses.
    outside: Used,
}

impl Capture<'_> {
    fn end(&mut self) -> Result<Graph, DeviceError> {
        let used = mem::replace(
            &mut self.stream.kept().until_done,
            mem::take(&mut self.outside),
        );
        self.stream.is_captured.store(false, Ordering::Release);
        // SAFETY: the stream is there as long as this, and has begun to be captured.
        let handle = unsafe { self.stream.device.0.end_capture(self.stream.handle) }?;
        Ok(Graph {
            handle,
            device: self.stream.device.clone(),
            used,
        })
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        if self.stream.is_captured.load(Ordering::Acquire) {
            // What was put in, or its panic, says what is wrong.
            let _ = self.end();
        }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: ours; streams keep the graphs that they launch.
        unsafe { self.device.0.destroy_graph(self.handle) };
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}
