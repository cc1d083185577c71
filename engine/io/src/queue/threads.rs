//! Reads that wait for the drive, for threads that hold one each.

use std::{os::unix::fs::FileExt, sync::Arc};

use memmap2::MmapMut;

use super::{BlockRead, OnRead, Progress, ReadQueue, Step, check};
use crate::{DirectFile, IoError};

/// A queue of one read, by `pread`: where `io_uring` is refused, many threads with one each keep the
/// drive busy.
#[derive(Debug)]
pub struct BlockingQueue {
    files: Arc<[DirectFile]>,
    slot: MmapMut,
    begun: Option<BlockRead>,
}

impl BlockingQueue {
    /// A queue over `files` for reads of up to `slot_bytes`.
    ///
    /// # Errors
    /// No memory.
    pub fn new(files: Arc<[DirectFile]>, slot_bytes: usize) -> Result<Self, IoError> {
        let slot = MmapMut::map_anon(slot_bytes).map_err(IoError::os("get memory for", "reads"))?;
        Ok(Self {
            files,
            slot,
            begun: None,
        })
    }

    fn read(&mut self, read: BlockRead) -> Result<&[u8], IoError> {
        let file = &self.files[read.file as usize];
        let mut progress = Progress::new(read);
        loop {
            let rest = &mut self.slot[progress.done as usize..read.len as usize];
            let answer = file
                .file()
                .read_at(rest, read.offset + u64::from(progress.done));
            let answer = answer.map(|bytes| u32::try_from(bytes).expect("at most the slot"));
            match progress.advance(answer, file) {
                Step::Again => {}
                Step::Ended => return Ok(&self.slot[..progress.done as usize]),
                Step::Failed(error) => return Err(error),
            }
        }
    }
}

impl ReadQueue for BlockingQueue {
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
}
