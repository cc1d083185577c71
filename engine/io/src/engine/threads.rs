//! Reads that wait for the drive, for threads that have one in flight each.

use std::sync::Arc;

use memmap2::{Advice, MmapMut};

use super::{BlockRead, EngineKind, OnRead, ReadEngine, check};
use crate::{
    DirectFile, IoError,
    answers::Answers,
    progress::{self, Progress},
};

/// An engine with one read in flight, by `pread`. Where `io_uring` is refused, many threads with such an engine each
/// keep the drive busy.
#[derive(Debug)]
pub struct ThreadsEngine {
    files: Arc<[DirectFile]>,
    slot: MmapMut,
    begun: Option<BlockRead>,
    answers: Answers,
}

impl ThreadsEngine {
    /// An engine over `files` for reads of up to `slot_bytes` bytes.
    ///
    /// # Errors
    /// No memory.
    pub fn new(files: Arc<[DirectFile]>, slot_bytes: usize) -> Result<Self, IoError> {
        let slot = MmapMut::map_anon(slot_bytes);
        let slot = slot.map_err(IoError::no_memory(slot_bytes, "a read in flight"))?;
        // The system may be writing to it while another thread forks. Only advice: a forked process does not use it.
        let _ = slot.advise(Advice::DontFork);
        Ok(Self {
            files,
            slot,
            begun: None,
            answers: Answers::default(),
        })
    }

    fn read(&mut self, read: BlockRead) -> Result<&[u8], IoError> {
        let file = &self.files[read.file as usize];
        let slot = &mut self.slot[..read.len as usize];
        let progress = Progress::new(read.offset, read.needed as usize, file.unit() as usize);
        let (path, answers) = (file.path(), &self.answers);
        let bytes = loop {
            let (from, direct) = file.now();
            match progress::read(from, path, progress, slot, answers, direct) {
                Err(error) if file.reads_again(&error, direct) => {}
                read => break read?,
            }
        };
        Ok(&slot[..bytes])
    }
}

impl ReadEngine for ThreadsEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Threads
    }

    fn depth(&self) -> usize {
        1
    }

    fn in_flight(&self) -> usize {
        usize::from(self.begun.is_some())
    }

    fn begin(&mut self, read: BlockRead) -> u32 {
        check(&read, &self.files, self.slot.len());
        assert!(self.begun.replace(read).is_none(), "the slot is taken");
        0
    }

    fn finish(&mut self, done: OnRead<'_>) -> Result<(), IoError> {
        if let Some(read) = self.begun.take() {
            done(0, self.read(read));
        }
        Ok(())
    }

    #[cfg(feature = "fault")]
    fn inject(&mut self, plan: &crate::FaultPlan) {
        self.answers.plan = Some(plan.clone());
    }
}
