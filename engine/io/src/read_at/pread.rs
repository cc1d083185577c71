//! A file read by system calls.

use std::{
    fs::File,
    io::IoSliceMut,
    path::{Path, PathBuf},
};

use rustix::fs::{Advice, fadvise};

use crate::{
    IoError, ReadAt,
    answers::Answers,
    progress::{self, Progress},
};

/// A file read with `pread` through the page cache.
pub struct PreadReader {
    path: PathBuf,
    file: File,
    size: u64,
    answers: Answers,
}

impl PreadReader {
    /// Opens the file at `path` for scattered reads.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        Self::with_advice(path, Advice::Random)
    }

    /// Opens the file at `path` to be read from front to back.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn open_sequential(path: &Path) -> Result<Self, IoError> {
        Self::with_advice(path, Advice::Sequential)
    }

    fn with_advice(path: &Path, advice: Advice) -> Result<Self, IoError> {
        let file = File::open(path).map_err(IoError::os("open", path))?;
        let size = file
            .metadata()
            .map_err(IoError::os("read the size of", path))?
            .len();
        // Only advice: reads are the same without it.
        let _ = fadvise(&file, 0, None, advice);
        Ok(Self {
            path: path.into(),
            file,
            size,
            answers: Answers::default(),
        })
    }

    fn check(&self, offset: u64, len: usize) -> Result<(), IoError> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= self.size => Ok(()),
            _ => Err(IoError::PastEnd {
                path: self.path.clone(),
                offset,
                len,
                size: self.size,
            }),
        }
    }
}

impl ReadAt for PreadReader {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        self.check(offset, out.len())?;
        let progress = Progress::new(offset, out.len(), 1);
        progress::read(&self.file, &self.path, progress, out, &self.answers, false).map(drop)
    }

    #[cfg(feature = "fault")]
    fn inject(&mut self, plan: &crate::FaultPlan) -> bool {
        self.answers.plan = Some(plan.clone());
        true
    }

    fn read_split_at(
        &self,
        offset: u64,
        head: &mut [u8],
        gap: usize,
        tail: &mut [u8],
    ) -> Result<(), IoError> {
        const LARGEST_GAP: usize = 16;
        let len = head.len() + gap + tail.len();
        self.check(offset, len)?;
        let mut skipped = [0; LARGEST_GAP];
        if let Some(skipped) = skipped.get_mut(..gap) {
            let mut parts = [&mut *head, skipped, &mut *tail].map(IoSliceMut::new);
            let read = rustix::io::preadv(&self.file, &mut parts, offset);
            let offsets = offset..offset + len as u64;
            let read = self
                .answers
                .to_read(read.map_err(Into::into), &self.path, offsets, false);
            if read.is_ok_and(|bytes| bytes == len) {
                return Ok(());
            }
        }
        // A short or interrupted read, which the plain calls retry.
        self.read_at(offset, head)?;
        self.read_at(offset + (head.len() + gap) as u64, tail)
    }
}

impl std::fmt::Debug for PreadReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PreadReader").field(&self.path).finish()
    }
}
