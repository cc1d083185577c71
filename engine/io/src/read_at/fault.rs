//! A file whose reads fail as planned.

use std::{
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::ReadAt;
use crate::{
    IoError,
    fault::{Fault, FaultPlan, Layer, tear},
};

/// How long a late read takes.
const DELAY: Duration = Duration::from_millis(2);

/// Wraps a reader whose reads then fail as a [`FaultPlan`] says. It has no [`memory`](ReadAt::memory), since bytes that
/// are read there would have no faults.
#[derive(Debug)]
pub struct FaultReader {
    inner: Box<dyn ReadAt>,
    path: PathBuf,
    plan: FaultPlan,
    /// Whether the reader makes system calls and has the faults of those by itself.
    makes_calls: bool,
}

impl FaultReader {
    /// Wraps the reader of the file at `path`.
    pub fn new(mut inner: Box<dyn ReadAt>, path: &Path, plan: FaultPlan) -> Self {
        let makes_calls = inner.inject(&plan);
        Self {
            inner,
            path: path.into(),
            plan,
            makes_calls,
        }
    }

    /// Applies the fault that the plan has for a read, if any.
    fn spoil(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        if out.is_empty() {
            return Ok(());
        }
        if !self.makes_calls {
            self.fail_as_planned(offset, out.len())?;
        }
        let offsets = offset..offset + out.len() as u64;
        let Some(fault) = self.plan.pick(Layer::Read, &self.path, offsets) else {
            return Ok(());
        };
        match fault {
            Fault::BitFlip => self.plan.flip_bit(out),
            Fault::Torn => tear(out),
            Fault::Late => thread::sleep(DELAY),
            Fault::Misdirected => match self.other_place(offset, out.len()) {
                Some(other) => self.inner.read_at(other, out)?,
                None => return Ok(()),
            },
            _ => return Ok(()),
        }
        self.plan.count(fault);
        Ok(())
    }

    /// Fails a read that makes no system call where a system call would fail for good.
    fn fail_as_planned(&self, offset: u64, len: usize) -> Result<(), IoError> {
        let offsets = offset..offset + len as u64;
        let (fault, error) = match self.plan.pick(Layer::ReadCall, &self.path, offsets) {
            Some(fault @ Fault::Eio) => {
                let cause = io::Error::from_raw_os_error(libc::EIO);
                (fault, IoError::os("read", &self.path)(cause))
            }
            Some(fault @ Fault::Vanished) => {
                let ended = IoError::Ended {
                    path: self.path.clone(),
                    offset,
                    needed: len,
                    found: 0,
                };
                (fault, ended)
            }
            _ => return Ok(()),
        };
        self.plan.count(fault);
        Err(error)
    }

    /// Another offset of the file from which `len` bytes can be read, if there is one.
    fn other_place(&self, offset: u64, len: usize) -> Option<u64> {
        let others = self.size() - len as u64;
        let other = (others > 0).then(|| self.plan.draw(others))?;
        Some(other + u64::from(other >= offset))
    }
}

impl ReadAt for FaultReader {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        self.inner.read_at(offset, out)?;
        self.spoil(offset, out)
    }

    fn read_split_at(
        &self,
        offset: u64,
        head: &mut [u8],
        gap: usize,
        tail: &mut [u8],
    ) -> Result<(), IoError> {
        self.inner.read_split_at(offset, head, gap, tail)?;
        self.spoil(offset, head)?;
        self.spoil(offset + (head.len() + gap) as u64, tail)
    }

    fn prefetch(&self, offset: u64, len: usize) {
        self.inner.prefetch(offset, len);
    }
}
