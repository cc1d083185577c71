//! Reads through a ring shared with the kernel.

use std::{io, mem::ManuallyDrop, os::fd::AsRawFd, sync::Arc};

use io_uring::{
    IoUring, cqueue, opcode,
    types::{Fd, Fixed},
};
use memmap2::MmapRaw;

use super::{Bell, BlockRead, OnRead, Progress, QueueKind, ReadQueue, Step, check};
use crate::{DirectFile, IoError};

/// What stands for the bell among the numbers of slots.
const BELL: u64 = u64::MAX;

/// A queue of reads by `io_uring`. It must stay with the thread that made it.
pub struct UringQueue {
    files: Arc<[DirectFile]>,
    /// Dropped by hand: only when the kernel no longer writes to the slots.
    ring: ManuallyDrop<IoUring>,
    slots: ManuallyDrop<MmapRaw>,
    slot_bytes: usize,
    /// What is in flight in each slot.
    reads: Vec<Option<Progress>>,
    free: Vec<u32>,
    bell: Bell,
    kind: QueueKind,
    registered_buffers: bool,
}

impl UringQueue {
    /// A queue over `files` with `depth` slots of `slot_bytes` each.
    ///
    /// # Errors
    /// A system that refuses `io_uring`, as containers often do, or has no memory.
    pub fn new(files: Arc<[DirectFile]>, depth: u16, slot_bytes: usize) -> Result<Self, IoError> {
        Self::with_registration(files, depth, slot_bytes, true)
    }

    pub(super) fn with_registration(
        files: Arc<[DirectFile]>,
        depth: u16,
        slot_bytes: usize,
        register: bool,
    ) -> Result<Self, IoError> {
        let bell = Bell::new()?;
        let refused = IoError::os("set up", "io_uring");
        let (ring, deferred) = build(depth).map_err(refused)?;
        let handles: Vec<_> = files.iter().map(|file| file.file().as_raw_fd()).collect();
        ring.submitter()
            .register_files(&handles)
            .map_err(IoError::os("register files with", "io_uring"))?;
        let bytes = usize::from(depth)
            .checked_mul(slot_bytes)
            .ok_or_else(|| io::ErrorKind::OutOfMemory.into())
            .map_err(IoError::os("get memory for", "reads"))?;
        let slots = memmap2::MmapOptions::new()
            .len(bytes)
            .map_anon()
            .map_err(IoError::os("get memory for", "reads"))?;
        let slots = MmapRaw::from(slots);
        let whole = libc::iovec {
            iov_base: slots.as_mut_ptr().cast(),
            iov_len: bytes,
        };
        // SAFETY: the memory is ours and stays mapped until after the ring is gone, see `drop`.
        // Refused where little memory may be locked; then each read names its slot's address.
        let registered_buffers =
            register && unsafe { ring.submitter().register_buffers(&[whole]) }.is_ok();
        let mut queue = Self {
            files,
            ring: ManuallyDrop::new(ring),
            slots: ManuallyDrop::new(slots),
            slot_bytes,
            reads: vec![None; depth.into()],
            free: (0..u32::from(depth)).rev().collect(),
            bell,
            kind: QueueKind::Uring {
                registered_buffers,
                deferred,
            },
            registered_buffers,
        };
        queue.hear_bell();
        Ok(queue)
    }

    /// Asks the ring to end a wait once the bell rings.
    fn hear_bell(&mut self) {
        let events = u32::from(libc::POLLIN.cast_unsigned());
        let entry = opcode::PollAdd::new(Fd(self.bell.as_raw_fd()), events).build();
        // SAFETY: the entry names no memory, and the kernel keeps what it polls.
        let pushed = unsafe { self.ring.submission().push(&entry.user_data(BELL)) };
        pushed.expect("the ring has an entry for the bell");
    }

    /// What the system granted.
    pub fn kind(&self) -> QueueKind {
        self.kind
    }

    fn next_completion(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    fn slot(&self, slot: u32) -> *mut u8 {
        // SAFETY: every slot lies within the mapping.
        unsafe { self.slots.as_mut_ptr().add(slot as usize * self.slot_bytes) }
    }

    /// Puts the rest of the slot's read on the ring.
    fn push(&mut self, slot: u32) {
        let progress = self.reads[slot as usize].expect("a read in this slot");
        let BlockRead {
            file, offset, len, ..
        } = progress.read;
        let (done, at) = (progress.done, self.slot(slot));
        // SAFETY: `begin` checked that the read fits its slot, and `done` is below its length.
        let at = unsafe { at.add(done as usize) };
        let (len, offset) = (len - done, offset + u64::from(done));
        let entry = if self.registered_buffers {
            opcode::ReadFixed::new(Fixed(file), at, len, 0)
                .offset(offset)
                .build()
        } else {
            opcode::Read::new(Fixed(file), at, len)
                .offset(offset)
                .build()
        };
        // SAFETY: the slot is memory of ours that nothing else touches while its read is in flight: it
        // is on `free` only before `begin` and after `finish`, and outlives the ring.
        let pushed = unsafe {
            let mut queue = self.ring.submission();
            queue.push(&entry.user_data(slot.into()))
        };
        pushed.expect("the ring has an entry for each slot");
    }
}

/// A ring for `depth` reads and a bell, and whether its completions are deferred.
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

impl ReadQueue for UringQueue {
    fn depth(&self) -> usize {
        self.reads.len()
    }

    fn in_flight(&self) -> usize {
        self.reads.len() - self.free.len()
    }

    fn begin(&mut self, read: BlockRead) -> u32 {
        check(&read, &self.files, self.slot_bytes);
        let slot = self.free.pop().expect("a free slot");
        self.reads[slot as usize] = Some(Progress::new(read));
        self.push(slot);
        slot
    }

    fn bell(&self) -> Option<Bell> {
        Some(self.bell.clone())
    }

    fn finish(&mut self, done: OnRead<'_>) -> Result<(), IoError> {
        if self.in_flight() == 0 {
            return Ok(());
        }
        loop {
            match self.ring.submit_and_wait(1) {
                Ok(_) => break,
                Err(e) if super::is_transient(&e) => {}
                Err(e) => return Err(IoError::os("wait for", "io_uring")(e)),
            }
        }
        while let Some(entry) = self.next_completion() {
            if entry.user_data() == BELL {
                self.bell.silence();
                self.hear_bell();
                continue;
            }
            let slot = u32::try_from(entry.user_data()).expect("we numbered it");
            let progress = self.reads[slot as usize].as_mut();
            let progress = progress.expect("it was in flight");
            let file = &self.files[progress.read.file as usize];
            let answer = u32::try_from(entry.result())
                .map_err(|_| io::Error::from_raw_os_error(-entry.result()));
            let step = progress.advance(answer, file);
            let bytes = progress.done as usize;
            if matches!(step, Step::Again) {
                self.push(slot);
                continue;
            }
            // Free already, in case `done` panics; nothing begins before it returns.
            self.reads[slot as usize] = None;
            self.free.push(slot);
            match step {
                Step::Failed(error) => done(slot, Err(error)),
                // SAFETY: the kernel has written `bytes` bytes to the slot and is done with it, and
                // only `push` makes it write again.
                _ => done(slot, unsafe {
                    Ok(std::slice::from_raw_parts(self.slot(slot), bytes))
                }),
            }
        }
        Ok(())
    }
}

impl Drop for UringQueue {
    fn drop(&mut self) {
        while self.in_flight() > 0 {
            if self.finish(&mut |_, _| ()).is_err() {
                // The kernel may still write to the slots: they are never freed.
                return;
            }
        }
        // SAFETY: nothing is in flight, and neither is used again.
        unsafe {
            ManuallyDrop::drop(&mut self.ring);
            ManuallyDrop::drop(&mut self.slots);
        }
    }
}

impl std::fmt::Debug for UringQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UringQueue")
            .field("kind", &self.kind)
            .field("depth", &self.depth())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}
