//! NVIDIA's driver, loaded when it is first asked for.

use std::{
    ffi::{CString, c_void},
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::{self, NonNull},
};

use cudarc::driver::{
    DriverError, result,
    sys::{self, CUdevice_attribute_enum as Attribute},
};

use super::{Driver, Handle, Timing};
use crate::{
    error::DeviceError,
    kernels::{Kernel, PTX},
};

const LIBRARY: &str = if cfg!(windows) {
    "nvcuda.dll"
} else {
    "libcuda.so.1"
};

/// The oldest driver that takes the kernels, whose PTX is of CUDA 12.0 (R525). It has every function called here.
const OLDEST: i32 = 12_000;

/// Threads of a block.
const THREADS: u32 = 256;

/// The primary context of one GPU, with the kernels.
#[derive(Debug)]
pub(crate) struct Cuda {
    device: sys::CUdevice,
    context: sys::CUcontext,
    module: sys::CUmodule,
    functions: [sys::CUfunction; Kernel::NAMES.len()],
    name: String,
    streams_wait_for_values: bool,
    reads_read_only: bool,
    /// Of the least urgent and the most urgent stream.
    priorities: (i32, i32),
}

// SAFETY: the driver's handles may be used from any thread; each call sets the context of its thread first.
unsafe impl Send for Cuda {}
// SAFETY: as above, by many threads at once.
unsafe impl Sync for Cuda {}

/// The error of a driver's call.
fn failed(call: &'static str) -> impl Fn(DriverError) -> DeviceError {
    move |error| {
        let text = |part: Result<&std::ffi::CStr, DriverError>| {
            part.map_or(String::new(), |text| text.to_string_lossy().into_owned())
        };
        DeviceError::Call {
            call,
            message: format!(
                "{} ({})",
                text(error.error_string()),
                text(error.error_name())
            ),
        }
    }
}

fn no_memory(kind: &'static str, bytes: usize) -> impl Fn(DriverError) -> DeviceError {
    move |error| match error.0 {
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => DeviceError::NoMemory { kind, bytes },
        _ => failed("cuMemAlloc")(error),
    }
}

impl Cuda {
    pub(crate) fn open(ordinal: u32) -> Result<Self, DeviceError> {
        // SAFETY: loading the driver's library runs its initialisers, as linking it would.
        if unsafe { libloading::Library::new(LIBRARY) }.is_err() {
            return Err(DeviceError::NoDriver { library: LIBRARY });
        }
        result::init().map_err(failed("cuInit"))?;
        let mut found = 0;
        // SAFETY: the pointer is to a place for the result.
        let known = unsafe { sys::cuDriverGetVersion(&raw mut found) };
        known.result().map_err(failed("cuDriverGetVersion"))?;
        check_version(found)?;
        let count = result::device::get_count().map_err(failed("cuDeviceGetCount"))?;
        let count = u32::try_from(count).unwrap_or(0);
        if ordinal >= count {
            return Err(DeviceError::NoDevice { ordinal, count });
        }
        let index = i32::try_from(ordinal).expect("there are not so many devices");
        let device = result::device::get(index).map_err(failed("cuDeviceGet"))?;
        // SAFETY: the device exists. The context is released when this is dropped.
        let context = unsafe { result::primary_ctx::retain(device) };
        let context = context.map_err(failed("cuDevicePrimaryCtxRetain"))?;
        Self::of(device, context).inspect_err(|_| {
            // SAFETY: retained above, and nothing uses it.
            let _ = unsafe { result::primary_ctx::release(device) };
        })
    }

    fn of(device: sys::CUdevice, context: sys::CUcontext) -> Result<Self, DeviceError> {
        // SAFETY: the context is retained.
        let pushed = unsafe { sys::cuCtxPushCurrent_v2(context) };
        pushed.result().map_err(failed("cuCtxPushCurrent"))?;
        let _here = Entered(PhantomData);
        let name = result::device::get_name(device).map_err(failed("cuDeviceGetName"))?;
        let has = |attribute| {
            // SAFETY: the device exists.
            let value = unsafe { result::device::get_attribute(device, attribute) };
            value.map_err(failed("cuDeviceGetAttribute"))
        };
        let unified = has(Attribute::CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING)? != 0;
        let maps = has(Attribute::CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY)? != 0;
        if !unified || !maps {
            return Err(DeviceError::NoUnifiedAddresses { device: name });
        }
        let image = CString::new(PTX).expect("text without zeros");
        // SAFETY: the image is a text that ends with a zero.
        let module = unsafe { result::module::load_data(image.as_ptr().cast()) };
        let module = module.map_err(failed("cuModuleLoadData"))?;
        let mut functions = [ptr::null_mut(); Kernel::NAMES.len()];
        for (function, name) in functions.iter_mut().zip(Kernel::NAMES) {
            let name = CString::new(name).expect("a name without zeros");
            // SAFETY: the module is loaded.
            let found = unsafe { result::module::get_function(module, name) };
            *function = found.map_err(failed("cuModuleGetFunction"))?;
        }
        Ok(Self {
            device,
            context,
            module,
            functions,
            name,
            streams_wait_for_values: has(
                Attribute::CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS,
            )? != 0,
            reads_read_only: has(Attribute::CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED)?
                != 0,
            priorities: result::stream::get_priority_range()
                .map_err(failed("cuCtxGetStreamPriorityRange"))?,
        })
    }

    /// Makes the context this thread's current one, until the result is dropped.
    fn enter(&self) -> Result<Entered, DeviceError> {
        // SAFETY: the context is retained until this is dropped.
        let pushed = unsafe { sys::cuCtxPushCurrent_v2(self.context) };
        pushed.result().map_err(failed("cuCtxPushCurrent"))?;
        Ok(Entered(PhantomData))
    }
}

/// A thread whose current context is ours until this is dropped, in the same thread.
struct Entered(PhantomData<*const ()>);

impl Drop for Entered {
    fn drop(&mut self) {
        let mut context = ptr::null_mut();
        // SAFETY: the pointer is to a place for the result; the context was pushed in this thread. A failure cannot be
        // reported from here.
        let _ = unsafe { sys::cuCtxPopCurrent_v2(&raw mut context) };
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        let _here = self.enter();
        // SAFETY: whatever was made by this driver holds it, so nothing uses the module or the context any more.
        // If this fails, they stay until the process ends.
        unsafe {
            let _ = result::module::unload(self.module);
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

/// Refuses a driver that is too old, by the CUDA version that it reports.
fn check_version(found: i32) -> Result<(), DeviceError> {
    if found < OLDEST {
        let expected = OLDEST;
        return Err(DeviceError::OldDriver { found, expected });
    }
    Ok(())
}

fn stream_of(handle: Handle) -> sys::CUstream {
    handle as sys::CUstream
}

fn event_of(handle: Handle) -> sys::CUevent {
    handle as sys::CUevent
}

// SAFETY: the driver's memory stays where it is until it is freed; pinned memory is zeroed below.
unsafe impl Driver for Cuda {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn context(&self) -> Option<u64> {
        Some(self.context as u64)
    }

    fn streams_wait_for_values(&self) -> bool {
        self.streams_wait_for_values
    }

    fn device_memory(&self, bytes: usize) -> Result<u64, DeviceError> {
        let _here = self.enter()?;
        // SAFETY: nobody reads it before writing it; kernels read what copies have written.
        unsafe { result::malloc_sync(bytes) }.map_err(no_memory("device", bytes))
    }

    unsafe fn free_device_memory(&self, address: u64, _bytes: usize) {
        let _here = self.enter();
        // SAFETY: the caller's promise. If this fails, the memory stays until the process ends.
        let _ = unsafe { result::free_sync(address) };
    }

    fn pinned_memory(&self, bytes: usize) -> Result<NonNull<u8>, DeviceError> {
        let _here = self.enter()?;
        let flags = sys::CU_MEMHOSTALLOC_PORTABLE | sys::CU_MEMHOSTALLOC_DEVICEMAP;
        // SAFETY: it is initialised below, before anybody has it.
        let address = unsafe { result::malloc_host(bytes, flags) };
        let address = address.map_err(no_memory("pinned host", bytes))?;
        let address = NonNull::new(address.cast::<u8>()).expect("the driver gives memory");
        // SAFETY: so many bytes have just been given to us alone.
        unsafe { address.as_ptr().write_bytes(0, bytes) };
        Ok(address)
    }

    unsafe fn free_pinned_memory(&self, address: NonNull<u8>, _bytes: usize) {
        let _here = self.enter();
        // SAFETY: the caller's promise.
        let _ = unsafe { result::free_host(address.as_ptr().cast()) };
    }

    unsafe fn register(
        &self,
        address: *const u8,
        bytes: usize,
        is_writable: bool,
    ) -> Result<u64, DeviceError> {
        let _here = self.enter()?;
        let mut flags = sys::CU_MEMHOSTREGISTER_PORTABLE | sys::CU_MEMHOSTREGISTER_DEVICEMAP;
        if !is_writable {
            if !self.reads_read_only {
                return Err(DeviceError::NoReadOnlyMemory {
                    device: self.name.clone(),
                });
            }
            flags |= sys::CU_MEMHOSTREGISTER_READ_ONLY;
        }
        let host = address.cast_mut().cast::<c_void>();
        // SAFETY: the memory is mapped, by the caller's promise; kernels only read it.
        let registered = unsafe { sys::cuMemHostRegister_v2(host, bytes, flags) };
        registered.result().map_err(failed("cuMemHostRegister"))?;
        let mut device = MaybeUninit::uninit();
        // SAFETY: registered above; the pointer is to a place for the result.
        let found = unsafe { sys::cuMemHostGetDevicePointer_v2(device.as_mut_ptr(), host, 0) };
        if let Err(error) = found.result() {
            // SAFETY: registered above, and nobody else has the address.
            unsafe { self.unregister(address) };
            return Err(failed("cuMemHostGetDevicePointer")(error));
        }
        // SAFETY: the call has succeeded, so it has written its result.
        Ok(unsafe { device.assume_init() })
    }

    unsafe fn unregister(&self, address: *const u8) {
        let _here = self.enter();
        // SAFETY: the caller's promise.
        let _ = unsafe { sys::cuMemHostUnregister(address.cast_mut().cast()) };
    }

    fn stream(&self, rank: usize) -> Result<Handle, DeviceError> {
        let _here = self.enter()?;
        let (least, most) = self.priorities;
        // Lower numbers are more urgent.
        let priority = i32::try_from(rank).map_or(least, |rank| (most + rank).min(least));
        let kind = result::stream::StreamKind::NonBlocking;
        let stream = result::stream::create_with_priority(kind, priority);
        Ok(stream.map_err(failed("cuStreamCreateWithPriority"))? as Handle)
    }

    unsafe fn destroy_stream(&self, stream: Handle) {
        let _here = self.enter();
        // SAFETY: the caller's promise.
        let _ = unsafe { result::stream::destroy(stream_of(stream)) };
    }

    unsafe fn synchronize(&self, stream: Handle) -> Result<(), DeviceError> {
        let _here = self.enter()?;
        // SAFETY: the caller's promise.
        unsafe { result::stream::synchronize(stream_of(stream)) }
            .map_err(failed("cuStreamSynchronize"))
    }

    unsafe fn copy(
        &self,
        stream: Handle,
        from: u64,
        to: u64,
        bytes: usize,
    ) -> Result<(), DeviceError> {
        let _here = self.enter()?;
        // SAFETY: the caller's promise. The driver tells by an address which side it is on.
        let copied = unsafe { sys::cuMemcpyAsync(to, from, bytes, stream_of(stream)) };
        copied.result().map_err(failed("cuMemcpyAsync"))
    }

    unsafe fn launch(&self, stream: Handle, kernel: &Kernel) -> Result<(), DeviceError> {
        let _here = self.enter()?;
        let argument: *const c_void = match kernel {
            Kernel::Decode(call, ..) => ptr::from_ref(call).cast(),
            Kernel::Gather(call, ..) => ptr::from_ref(call).cast(),
            #[cfg(feature = "bench")]
            Kernel::Spin(nanoseconds) => ptr::from_ref(nanoseconds).cast(),
        };
        let blocks = kernel.threads().div_ceil(THREADS.into());
        let blocks = u32::try_from(blocks).expect("less than 2^32 threads, as was checked");
        let threads = match kernel {
            Kernel::Decode(..) | Kernel::Gather(..) => THREADS,
            #[cfg(feature = "bench")]
            Kernel::Spin(_) => 1,
        };
        let function = self.functions[kernel.index()];
        let mut arguments = [argument.cast_mut()];
        // SAFETY: the function takes one argument, of this type: kernels.rs has the structures of rows.cu. It is
        // copied before this returns. The memory that it points to is the caller's promise.
        let launched = unsafe {
            result::launch_kernel(
                function,
                (blocks, 1, 1),
                (threads, 1, 1),
                0,
                stream_of(stream),
                &mut arguments,
            )
        };
        launched.map_err(failed("cuLaunchKernel"))
    }

    unsafe fn wait_for(&self, stream: Handle, word: u64, value: u64) -> Result<(), DeviceError> {
        let _here = self.enter()?;
        let flags = sys::CUstreamWaitValue_flags_enum::CU_STREAM_WAIT_VALUE_EQ as u32;
        // SAFETY: the caller's promise.
        let waits = unsafe { sys::cuStreamWaitValue64_v2(stream_of(stream), word, value, flags) };
        waits.result().map_err(failed("cuStreamWaitValue64"))
    }

    unsafe fn write(&self, stream: Handle, word: u64, value: u64) -> Result<(), DeviceError> {
        let _here = self.enter()?;
        // By default the write comes after a memory barrier.
        let flags = sys::CUstreamWriteValue_flags_enum::CU_STREAM_WRITE_VALUE_DEFAULT as u32;
        // SAFETY: the caller's promise.
        let writes = unsafe { sys::cuStreamWriteValue64_v2(stream_of(stream), word, value, flags) };
        writes.result().map_err(failed("cuStreamWriteValue64"))
    }

    fn event(&self, timing: Timing) -> Result<Handle, DeviceError> {
        let _here = self.enter()?;
        let flags = match timing {
            Timing::Timed => sys::CUevent_flags::CU_EVENT_DEFAULT,
            Timing::Untimed => sys::CUevent_flags::CU_EVENT_DISABLE_TIMING,
        };
        let event = result::event::create(flags);
        Ok(event.map_err(failed("cuEventCreate"))? as Handle)
    }

    unsafe fn record(&self, event: Handle, stream: Handle) -> Result<(), DeviceError> {
        let _here = self.enter()?;
        // SAFETY: the caller's promise.
        unsafe { result::event::record(event_of(event), stream_of(stream)) }
            .map_err(failed("cuEventRecord"))
    }

    unsafe fn is_passed(&self, event: Handle) -> Result<bool, DeviceError> {
        let _here = self.enter()?;
        // SAFETY: the caller's promise.
        match unsafe { sys::cuEventQuery(event_of(event)) } {
            sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            result => result
                .result()
                .map(|()| true)
                .map_err(failed("cuEventQuery")),
        }
    }

    #[cfg(feature = "bench")]
    unsafe fn elapsed(
        &self,
        start: Handle,
        end: Handle,
    ) -> Result<std::time::Duration, DeviceError> {
        let _here = self.enter()?;
        // SAFETY: the caller's promise.
        let milliseconds = unsafe {
            result::event::synchronize(event_of(end))
                .and_then(|()| result::event::elapsed(event_of(start), event_of(end)))
        };
        let milliseconds = milliseconds.map_err(failed("cuEventElapsedTime"))?;
        let seconds = f64::from(milliseconds).max(0.0) / 1e3;
        Ok(std::time::Duration::from_secs_f64(seconds))
    }

    unsafe fn destroy_event(&self, event: Handle) {
        let _here = self.enter();
        // SAFETY: the caller's promise.
        let _ = unsafe { result::event::destroy(event_of(event)) };
    }

    unsafe fn begin_capture(&self, stream: Handle) -> Result<(), DeviceError> {
        let _here = self.enter()?;
        // Other threads use streams of their own meanwhile, such as those of a ring.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the caller's promise.
        unsafe { result::stream::begin_capture(stream_of(stream), mode) }
            .map_err(failed("cuStreamBeginCapture"))
    }

    unsafe fn end_capture(&self, stream: Handle) -> Result<Handle, DeviceError> {
        let _here = self.enter()?;
        // SAFETY: the caller's promise.
        let graph = unsafe { result::stream::end_capture(stream_of(stream)) };
        let graph = graph.map_err(failed("cuStreamEndCapture"))?;
        let mut ready = MaybeUninit::uninit();
        // SAFETY: the graph has just been made; the pointer is to a place for the result.
        let made = unsafe { sys::cuGraphInstantiateWithFlags(ready.as_mut_ptr(), graph, 0) };
        // SAFETY: the graph is ours alone; what was made of it does not need it.
        let _ = unsafe { result::graph::destroy(graph) };
        made.result().map_err(failed("cuGraphInstantiate"))?;
        // SAFETY: the call has succeeded, so it has written its result.
        Ok(unsafe { ready.assume_init() } as Handle)
    }

    unsafe fn launch_graph(&self, graph: Handle, stream: Handle) -> Result<(), DeviceError> {
        let _here = self.enter()?;
        // SAFETY: the caller's promise.
        unsafe { result::graph::launch(graph as sys::CUgraphExec, stream_of(stream)) }
            .map_err(failed("cuGraphLaunch"))
    }

    unsafe fn destroy_graph(&self, graph: Handle) {
        let _here = self.enter();
        // SAFETY: the caller's promise.
        let _ = unsafe { result::graph::exec_destroy(graph as sys::CUgraphExec) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_from_r525_on_are_taken() {
        assert!(check_version(11_080).is_err());
        for taken in [12_000, 12_040, 12_080, 13_000] {
            check_version(taken).unwrap();
        }
    }
}
