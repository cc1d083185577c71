//! Reads through a ring shared with the kernel.

use std::{
    io,
    marker::PhantomData,
    mem::ManuallyDrop,
    os::{fd::AsRawFd, unix::fs::FileExt},
    sync::Arc,
};

use io_uring::{
    IoUring, Probe, opcode,
    types::{Fd, Fixed},
};
use memmap2::{Advice, MmapOptions, MmapRaw};

use super::{BlockRead, EngineKind, OnRead, ReadEngine, Waker, check};
use crate::{
    DirectFile, IoError,
    answers::Answers,
    progress::{Progress, Step, is_transient},
};

/// Of the reads in flight, this part may end before new ones are begun: while completions are handed on, in some 4
/// microseconds each, the drive has fewer reads to work on, and an urgent one waits.
const HANDED_ON: usize = 16;
/// Where few are in flight, so many all the same: each look for more is a system call.
const LEAST_HANDED_ON: usize = 4;

/// Marks the entry of the waker. Entries of reads are marked with the number of their slot.
const WAKER: u64 = u64::MAX;

/// An engine of reads by `io_uring`.
///
/// The kernel takes requests only from the thread that made the ring, so an engine cannot be sent to another thread:
///
/// ```compile_fail,E0277
/// fn assert_send<T: Send>() {}
/// assert_send::<engram_io::UringEngine>();
/// ```
pub struct UringEngine {
    files: Arc<[DirectFile]>,
    /// Dropped by hand: only when the kernel no longer writes to the slots.
    ring: ManuallyDrop<IoUring>,
    /// The buffers of all slots, one after another.
    buffers: ManuallyDrop<MmapRaw>,
    slot_bytes: usize,
    /// What is in flight in each slot.
    reads: Vec<Option<InFlight>>,
    free: Vec<u32>,
    waker: Waker,
    registered_buffers: bool,
    deferred: bool,
    answers: Answers,
    /// A pointer is neither `Send` nor `Sync`, nor is what holds one.
    stays_with_its_thread: PhantomData<*const ()>,
}

/// A read in flight.
#[derive(Debug, Clone, Copy)]
struct InFlight {
    read: BlockRead,
    progress: Progress,
    /// Whether the last request for it went past the page cache.
    direct: bool,
}

impl UringEngine {
    /// An engine over `files` with `depth` slots of `slot_bytes` bytes each.
    ///
    /// # Errors
    /// A system that refuses `io_uring`, as containers often do, or has no memory.
    pub fn new(files: Arc<[DirectFile]>, depth: u16, slot_bytes: usize) -> Result<Self, IoError> {
        Self::with_registration(files, depth, slot_bytes, true)
    }

    /// As [`Self::new`], but without registered buffers, as on a system where little memory may be locked.
    ///
    /// # Errors
    /// As [`Self::new`].
    #[cfg(feature = "fault")]
    pub fn unregistered(
        files: Arc<[DirectFile]>,
        depth: u16,
        slot_bytes: usize,
    ) -> Result<Self, IoError> {
        Self::with_registration(files, depth, slot_bytes, false)
    }

    fn with_registration(
        files: Arc<[DirectFile]>,
        depth: u16,
        slot_bytes: usize,
        register: bool,
    ) -> Result<Self, IoError> {
        let waker = Waker::new()?;
        let (ring, deferred) = build(depth).map_err(IoError::system("set up io_uring"))?;
        let handles: Vec<_> = files.iter().map(|file| file.first().as_raw_fd()).collect();
        ring.submitter()
            .register_files(&handles)
            .map_err(IoError::system("register files with io_uring"))?;
        let bytes = usize::from(depth).saturating_mul(slot_bytes);
        let buffers = MmapOptions::new().len(bytes).map_anon();
        let buffers = buffers.map_err(IoError::no_memory(bytes, "reads in flight"))?;
        let buffers = MmapRaw::from(buffers);
        // The kernel may write to them while another thread forks. Only advice: a forked process does not use them.
        let _ = buffers.advise(Advice::DontFork);
        let whole = libc::iovec {
            iov_base: buffers.as_mut_ptr().cast(),
            iov_len: bytes,
        };
        // SAFETY: the memory is ours and stays mapped until after the ring is gone, see `drop`.
        // Refused where little memory may be locked; then each read names its buffer's address.
        let registered_buffers =
            register && unsafe { ring.submitter().register_buffers(&[whole]) }.is_ok();
        let mut engine = Self {
            files,
            ring: ManuallyDrop::new(ring),
            buffers: ManuallyDrop::new(buffers),
            slot_bytes,
            reads: vec![None; depth.into()],
            free: (0..u32::from(depth)).rev().collect(),
            waker,
            registered_buffers,
            deferred,
            answers: Answers::default(),
            stays_with_its_thread: PhantomData,
        };
        engine
            .try_request()
            .map_err(IoError::system("use io_uring"))?;
        engine.poll_waker();
        Ok(engine)
    }

    /// Takes an empty request through the ring: some containers let a process set one up and not use it. And reads
    /// came to the kernel some versions after the ring.
    fn try_request(&mut self) -> io::Result<()> {
        let mut known = Probe::new();
        self.ring.submitter().register_probe(&mut known)?;
        let reads = [opcode::Read::CODE, opcode::ReadFixed::CODE];
        if !reads.into_iter().all(|read| known.is_supported(read)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // SAFETY: the entry names no memory.
        let pushed = unsafe { self.ring.submission().push(&opcode::Nop::new().build()) };
        pushed.expect("nothing is on the ring");
        while let Err(error) = self.ring.submit_and_wait(1) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        let ended = self.ring.completion().next();
        match ended.map(|ended| ended.result()) {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(-code)),
            None => Err(io::Error::other("an empty request does not come back")),
        }
    }

    /// Asks the ring to end a wait once the waker is used.
    fn poll_waker(&mut self) {
        let events = u32::from(libc::POLLIN.cast_unsigned());
        let entry = opcode::PollAdd::new(Fd(self.waker.as_raw_fd()), events).build();
        // SAFETY: the entry names no memory, and the kernel keeps what it polls.
        let pushed = unsafe { self.ring.submission().push(&entry.user_data(WAKER)) };
        pushed.expect("the ring has an entry for the waker");
    }

    fn buffer(&self, slot: u32) -> *mut u8 {
        // SAFETY: the buffer of every slot lies within the mapping.
        unsafe {
            self.buffers
                .as_mut_ptr()
                .add(slot as usize * self.slot_bytes)
        }
    }

    /// Puts the rest of the slot's read on the ring.
    fn push(&mut self, slot: u32) {
        let in_flight = self.reads[slot as usize].as_mut();
        let in_flight = in_flight.expect("a read in this slot");
        let (read, done) = (in_flight.read, in_flight.progress.done());
        let offset = in_flight.progress.next_offset();
        let file = &self.files[read.file as usize];
        in_flight.direct = file.is_direct();
        // SAFETY: `begin` checked that the read fits its buffer, and `done` is below its length.
        let at = unsafe { self.buffer(slot).add(done) };
        let len = read.len - u32::try_from(done).expect("at most the length of the read");
        // A file that is registered and one that is not are of different types.
        macro_rules! request {
            ($from:expr) => {
                if self.registered_buffers {
                    opcode::ReadFixed::new($from, at, len, 0)
                        .offset(offset)
                        .build()
                } else {
                    opcode::Read::new($from, at, len).offset(offset).build()
                }
            };
        }
        let entry = match file.buffered() {
            Some(buffered) => request!(Fd(buffered.as_raw_fd())),
            None => request!(Fixed(read.file)),
        };
        // SAFETY: the buffer is memory of ours that nothing else touches while its read is in flight: its slot is on
        // `free` only before `begin` and after `finish`, and it outlives the ring.
        let pushed = unsafe { self.ring.submission().push(&entry.user_data(slot.into())) };
        pushed.expect("the ring has an entry for each slot");
    }

    /// Asks for the rest of the slot's read by `pread`. A file system whose reads all block is read by threads of the
    /// kernel's, which cancels a read where it may start none, such as at a limit of processes.
    fn read_here(&self, slot: u32) -> io::Result<usize> {
        let InFlight { read, progress, .. } =
            self.reads[slot as usize].expect("a completion is of a read in flight");
        let done = progress.done();
        // SAFETY: the kernel has ended the read, so the buffer is ours alone; `begin` checked that the read fits it.
        let rest = unsafe {
            std::slice::from_raw_parts_mut(self.buffer(slot).add(done), read.len as usize - done)
        };
        let (file, _) = self.files[read.file as usize].now();
        file.read_at(rest, progress.next_offset())
    }

    /// Hands the requests to the kernel and waits until one of them, or of those before, has ended.
    fn submit_and_wait(&self) -> Result<(), IoError> {
        loop {
            match self.answers.to_enter(self.ring.submit_and_wait(1)) {
                Ok(_) => return Ok(()),
                // The queue of completions is full, or the kernel has no memory left for requests: it takes more when
                // the completions that there are have been taken off. What it has not taken stays on the ring.
                Err(e) if matches!(e.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN)) => {
                    return Ok(());
                }
                Err(e) if is_transient(&e) => {}
                Err(e) => return Err(IoError::system("wait for io_uring")(e)),
            }
        }
    }
}

/// A ring for `depth` reads and a waker, and whether its completions are deferred.
fn build(depth: u16) -> io::Result<(IoUring, bool)> {
    let entries = u32::from(depth) + 1;
    let deferred = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(entries);
    match deferred {
        Ok(ring) => Ok((ring, true)),
        // Kernels before 6.1 know no deferral.
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => Ok((IoUring::new(entries)?, false)),
        Err(e) => Err(e),
    }
}

impl ReadEngine for UringEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Uring {
            registered_buffers: self.registered_buffers,
            deferred: self.deferred,
        }
    }

    fn depth(&self) -> usize {
        self.reads.len()
    }

    fn in_flight(&self) -> usize {
        self.reads.len() - self.free.len()
    }

    fn begin(&mut self, read: BlockRead) -> u32 {
        check(&read, &self.files, self.slot_bytes);
        let unit = self.files[read.file as usize].unit();
        let slot = self.free.pop().expect("a free slot");
        self.reads[slot as usize] = Some(InFlight {
            read,
            progress: Progress::new(read.offset, read.needed as usize, unit as usize),
            direct: false,
        });
        self.push(slot);
        slot
    }

    fn waker(&self) -> Option<Waker> {
        Some(self.waker.clone())
    }

    fn finish(&mut self, done: OnRead<'_>) -> Result<(), IoError> {
        if self.in_flight() == 0 {
            return Ok(());
        }
        self.submit_and_wait()?;
        let at_once = (self.in_flight() / HANDED_ON).max(LEAST_HANDED_ON);
        for _ in 0..at_once {
            let Some(entry) = self.ring.completion().next() else {
                return Ok(());
            };
            if entry.user_data() == WAKER {
                self.waker.reset();
                self.poll_waker();
                continue;
            }
            let slot = u32::try_from(entry.user_data()).expect("the number of a slot");
            let answer = match entry.result() {
                canceled if canceled == -libc::ECANCELED => self.read_here(slot),
                answer => {
                    usize::try_from(answer).map_err(|_| io::Error::from_raw_os_error(-answer))
                }
            };
            let in_flight = self.reads[slot as usize].as_mut();
            let in_flight = in_flight.expect("a completion is of a read in flight");
            let (read, direct) = (in_flight.read, in_flight.direct);
            let progress = &mut in_flight.progress;
            let file = &self.files[read.file as usize];
            let offsets = progress.next_offset()..read.offset + u64::from(read.len);
            let answer = self.answers.to_read(answer, file.path(), offsets, direct);
            let step = progress.advance(answer, file.path());
            let bytes = progress.done();
            let again = match &step {
                Step::Again => true,
                Step::Failed(error) => file.reads_again(error, direct),
                Step::Ended => false,
            };
            if again {
                self.push(slot);
                continue;
            }
            // Free already, in case `done` panics; nothing begins before it returns.
            self.reads[slot as usize] = None;
            self.free.push(slot);
            match step {
                Step::Failed(error) => done(slot, Err(error)),
                // SAFETY: the kernel has written `bytes` bytes to the buffer and is done with it, and only `push` makes
                // it write again.
                _ => done(slot, unsafe {
                    Ok(std::slice::from_raw_parts(self.buffer(slot), bytes))
                }),
            }
        }
        Ok(())
    }

    #[cfg(feature = "fault")]
    fn inject(&mut self, plan: &crate::FaultPlan) {
        self.answers.plan = Some(plan.clone());
    }
}

impl Drop for UringEngine {
    fn drop(&mut self) {
        while self.in_flight() > 0 {
            if self.finish(&mut |_, _| ()).is_err() {
                // The kernel may still write to the buffers: they are never freed.
                return;
            }
        }
        // SAFETY: nothing is in flight, and neither is used again.
        unsafe {
            ManuallyDrop::drop(&mut self.ring);
            ManuallyDrop::drop(&mut self.buffers);
        }
    }
}

impl std::fmt::Debug for UringEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UringEngine")
            .field("kind", &self.kind())
            .field("depth", &self.depth())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}
