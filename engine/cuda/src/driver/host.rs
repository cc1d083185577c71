//! A stand-in for a GPU: its memory is the host's, and each of its streams is a thread.
//!
//! Streams run beside their callers and one another, and wait for words as a GPU's streams do, so work in a wrong order
//! fails here too.

mod kernels;

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    collections::{HashMap, HashSet},
    fmt,
    ptr::NonNull,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Driver, Handle, Timing};
use crate::{error::DeviceError, kernels::Kernel};

/// Alignment of all memory, that of a GPU's allocations.
const ALIGN: usize = 256;

const STREAM_LIVES: &str = "a stream lives until it is destroyed";

/// Time between looks at a word that a stream waits for.
const POLL: Duration = Duration::from_micros(20);

/// The stand-in's streams, events and graphs.
#[derive(Default)]
pub(crate) struct Host {
    last: AtomicU64,
    streams: Mutex<HashMap<Handle, Stream>>,
    events: Mutex<HashMap<Handle, Arc<Event>>>,
    graphs: Mutex<HashMap<Handle, Arc<[Op]>>>,
    registered: Mutex<HashSet<u64>>,
}

struct Stream {
    ops: Sender<Op>,
    thread: JoinHandle<()>,
    /// Work that is kept for a graph, while the stream is being captured.
    captured: Option<Vec<Op>>,
}

/// A point in the work of a stream.
#[derive(Debug, Default)]
struct Event {
    state: Mutex<EventState>,
    has_passed: Condvar,
}

#[derive(Debug, Clone, Copy, Default)]
enum EventState {
    /// In no stream yet.
    #[default]
    New,
    Recorded,
    PassedAt(Instant),
}

#[derive(Debug, Clone)]
enum Op {
    Copy { from: u64, to: u64, bytes: usize },
    Launch(Kernel),
    WaitFor { word: u64, value: u64 },
    Write { word: u64, value: u64 },
    Pass(Arc<Event>),
    Graph(Arc<[Op]>),
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

fn refused(call: &'static str, message: &str) -> DeviceError {
    DeviceError::Call {
        call,
        message: message.into(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Event {
    fn pass(&self) {
        *lock(&self.state) = EventState::PassedAt(Instant::now());
        self.has_passed.notify_all();
    }

    fn wait(&self) -> Option<Instant> {
        let mut state = lock(&self.state);
        loop {
            match *state {
                EventState::New => return None,
                EventState::PassedAt(time) => return Some(time),
                EventState::Recorded => {
                    let woken = self.has_passed.wait(state);
                    state = woken.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl Op {
    /// # Safety
    /// What [`Driver`] asks of the caller who put it in a stream.
    unsafe fn run(&self) {
        match self {
            Self::Copy { from, to, bytes } => {
                // SAFETY: both ranges are memory of this process that nobody else uses, by the caller's promise.
                unsafe {
                    std::ptr::copy_nonoverlapping(*from as *const u8, *to as *mut u8, *bytes);
                }
            }
            // SAFETY: the caller's promise.
            Self::Launch(kernel) => unsafe { kernels::run(kernel) },
            Self::WaitFor { word, value } => {
                // SAFETY: the word is of pinned memory that lives, by the caller's promise; all access to it is atomic.
                let word = unsafe { AtomicU64::from_ptr(*word as *mut u64) };
                while word.load(Ordering::Acquire) != *value {
                    thread::sleep(POLL);
                }
            }
            Self::Write { word, value } => {
                // SAFETY: as above.
                let word = unsafe { AtomicU64::from_ptr(*word as *mut u64) };
                word.store(*value, Ordering::Release);
            }
            Self::Pass(event) => event.pass(),
            // SAFETY: the caller's promise holds for each.
            Self::Graph(ops) => ops.iter().for_each(|op| unsafe { op.run() }),
        }
    }
}

impl Host {
    fn handle(&self) -> Handle {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn put(&self, stream: Handle, op: Op) {
        let mut streams = lock(&self.streams);
        let stream = streams.get_mut(&stream).expect(STREAM_LIVES);
        match &mut stream.captured {
            Some(captured) => captured.push(op),
            None => stream
                .ops
                .send(op)
                .expect("the thread of a stream ends with it"),
        }
    }

    fn event_of(&self, event: Handle) -> Arc<Event> {
        let events = lock(&self.events);
        events
            .get(&event)
            .expect("an event lives until it is destroyed")
            .clone()
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes.max(1), ALIGN).expect("fewer bytes than there can be")
}

impl Host {
    fn memory(kind: &'static str, bytes: usize) -> Result<NonNull<u8>, DeviceError> {
        let fits = Layout::from_size_align(bytes.max(1), ALIGN);
        // SAFETY: the layout has a byte at least.
        let address = fits
            .ok()
            .and_then(|layout| NonNull::new(unsafe { alloc_zeroed(layout) }));
        address.ok_or(DeviceError::NoMemory { kind, bytes })
    }
}

// SAFETY: the allocator's memory stays where it is until it is freed, and is zeroed.
unsafe impl Driver for Host {
    fn name(&self) -> String {
        "host stand-in".into()
    }

    fn context(&self) -> Option<u64> {
        None
    }

    fn streams_wait_for_values(&self) -> bool {
        true
    }

    fn device_memory(&self, bytes: usize) -> Result<u64, DeviceError> {
        Ok(Self::memory("device", bytes)?.as_ptr() as u64)
    }

    unsafe fn free_device_memory(&self, address: u64, bytes: usize) {
        // SAFETY: it was given out with this layout, and nothing uses it, by the caller's promise.
        unsafe { dealloc(address as *mut u8, layout(bytes)) };
    }

    fn pinned_memory(&self, bytes: usize) -> Result<NonNull<u8>, DeviceError> {
        Self::memory("pinned host", bytes)
    }

    unsafe fn free_pinned_memory(&self, address: NonNull<u8>, bytes: usize) {
        // SAFETY: as above.
        unsafe { dealloc(address.as_ptr(), layout(bytes)) };
    }

    unsafe fn register(
        &self,
        address: *const u8,
        _bytes: usize,
        _is_writable: bool,
    ) -> Result<u64, DeviceError> {
        // As a GPU's driver does.
        if !lock(&self.registered).insert(address as u64) {
            return Err(refused("register", "the memory is registered already"));
        }
        Ok(address as u64)
    }

    unsafe fn unregister(&self, address: *const u8) {
        lock(&self.registered).remove(&(address as u64));
    }

    fn stream(&self, _rank: usize) -> Result<Handle, DeviceError> {
        let (ops, todo) = channel::<Op>();
        let thread = thread::Builder::new().name("stand-in stream".into());
        let thread = thread.spawn(move || {
            for op in todo {
                // SAFETY: whoever put the work in the stream has promised so.
                unsafe { op.run() };
            }
        });
        let thread = thread.map_err(DeviceError::Thread)?;
        let handle = self.handle();
        let stream = Stream {
            ops,
            thread,
            captured: None,
        };
        lock(&self.streams).insert(handle, stream);
        Ok(handle)
    }

    unsafe fn destroy_stream(&self, stream: Handle) {
        let stream = lock(&self.streams).remove(&stream);
        if let Some(Stream { ops, thread, .. }) = stream {
            drop(ops);
            // A thread that has panicked has said so.
            let _ = thread.join();
        }
    }

    unsafe fn synchronize(&self, stream: Handle) -> Result<(), DeviceError> {
        let streams = lock(&self.streams);
        if streams.get(&stream).is_some_and(|s| s.captured.is_some()) {
            return Err(refused("synchronize", "the stream is being captured"));
        }
        drop(streams);
        let event = Arc::new(Event {
            state: Mutex::new(EventState::Recorded),
            has_passed: Condvar::new(),
        });
        self.put(stream, Op::Pass(event.clone()));
        event.wait();
        Ok(())
    }

    unsafe fn copy(
        &self,
        stream: Handle,
        from: u64,
        to: u64,
        bytes: usize,
    ) -> Result<(), DeviceError> {
        self.put(stream, Op::Copy { from, to, bytes });
        Ok(())
    }

    unsafe fn launch(&self, stream: Handle, kernel: &Kernel) -> Result<(), DeviceError> {
        self.put(stream, Op::Launch(*kernel));
        Ok(())
    }

    unsafe fn wait_for(&self, stream: Handle, word: u64, value: u64) -> Result<(), DeviceError> {
        self.put(stream, Op::WaitFor { word, value });
        Ok(())
    }

    unsafe fn write(&self, stream: Handle, word: u64, value: u64) -> Result<(), DeviceError> {
        self.put(stream, Op::Write { word, value });
        Ok(())
    }

    fn event(&self, _timing: Timing) -> Result<Handle, DeviceError> {
        let handle = self.handle();
        lock(&self.events).insert(handle, Arc::default());
        Ok(handle)
    }

    unsafe fn record(&self, event: Handle, stream: Handle) -> Result<(), DeviceError> {
        let event = self.event_of(event);
        *lock(&event.state) = EventState::Recorded;
        self.put(stream, Op::Pass(event));
        Ok(())
    }

    unsafe fn is_passed(&self, event: Handle) -> Result<bool, DeviceError> {
        // As a GPU's driver says of an event that is in no stream.
        let state = *lock(&self.event_of(event).state);
        Ok(!matches!(state, EventState::Recorded))
    }

    #[cfg(feature = "bench")]
    unsafe fn elapsed(&self, start: Handle, end: Handle) -> Result<Duration, DeviceError> {
        let passed_at = |event| {
            let passed = self.event_of(event).wait();
            passed.ok_or_else(|| refused("elapsed", "the event is in no stream"))
        };
        Ok(passed_at(end)?.saturating_duration_since(passed_at(start)?))
    }

    unsafe fn destroy_event(&self, event: Handle) {
        lock(&self.events).remove(&event);
    }

    unsafe fn begin_capture(&self, stream: Handle) -> Result<(), DeviceError> {
        let mut streams = lock(&self.streams);
        let stream = streams.get_mut(&stream).expect(STREAM_LIVES);
        if stream.captured.is_some() {
            return Err(refused("begin_capture", "the stream is being captured"));
        }
        stream.captured = Some(Vec::new());
        Ok(())
    }

    unsafe fn end_capture(&self, stream: Handle) -> Result<Handle, DeviceError> {
        let mut streams = lock(&self.streams);
        let stream = streams.get_mut(&stream).expect(STREAM_LIVES);
        let captured = stream.captured.take().unwrap_or_default();
        let handle = self.handle();
        lock(&self.graphs).insert(handle, captured.into());
        Ok(handle)
    }

    unsafe fn launch_graph(&self, graph: Handle, stream: Handle) -> Result<(), DeviceError> {
        let ops = lock(&self.graphs).get(&graph).cloned();
        self.put(
            stream,
            Op::Graph(ops.expect("a graph lives until it is destroyed")),
        );
        Ok(())
    }

    unsafe fn destroy_graph(&self, graph: Handle) {
        lock(&self.graphs).remove(&graph);
    }
}
