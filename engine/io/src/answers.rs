//! What the system answers to reads, and the place where a test puts other answers.

use std::{io, ops::Range, path::Path};

#[cfg(feature = "fault")]
use crate::fault::{Fault, FaultPlan, Layer};

/// Passes the answers of the system on. A plan of faults replaces some of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers {
    #[cfg(feature = "fault")]
    pub(crate) plan: Option<FaultPlan>,
}

#[cfg(not(feature = "fault"))]
#[expect(clippy::unused_self, reason = "with faults they need their plan")]
impl Answers {
    /// The `answer`, a number of bytes, to a request for the bytes at `offsets`, past the page cache if `direct`.
    #[inline]
    pub(crate) fn to_read(
        &self,
        answer: io::Result<usize>,
        _path: &Path,
        _offsets: Range<u64>,
        _direct: bool,
    ) -> io::Result<usize> {
        answer
    }

    /// The `answer` of `io_uring_enter`.
    #[inline]
    pub(crate) fn to_enter(&self, answer: io::Result<usize>) -> io::Result<usize> {
        answer
    }
}

#[cfg(feature = "fault")]
impl Answers {
    /// The `answer`, a number of bytes, to a request for the bytes at `offsets`, past the page cache if `direct`; or a
    /// planned one.
    pub(crate) fn to_read(
        &self,
        answer: io::Result<usize>,
        path: &Path,
        offsets: Range<u64>,
        direct: bool,
    ) -> io::Result<usize> {
        let Some(plan) = &self.plan else {
            return answer;
        };
        let bytes = answer?;
        let refused = direct
            .then(|| plan.pick(Layer::DirectReadCall, path, offsets.clone()))
            .flatten();
        let Some(fault) = refused.or_else(|| plan.pick(Layer::ReadCall, path, offsets)) else {
            return Ok(bytes);
        };
        plan.count(fault);
        match fault {
            Fault::Eintr => Err(io::Error::from_raw_os_error(libc::EINTR)),
            Fault::Eagain => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
            Fault::Eio => Err(io::Error::from_raw_os_error(libc::EIO)),
            Fault::NotDirect => Err(io::Error::from_raw_os_error(libc::EINVAL)),
            Fault::Vanished => Ok(0),
            _ => Ok(bytes.div_ceil(2)),
        }
    }

    /// The `answer` of `io_uring_enter`, or a planned one.
    pub(crate) fn to_enter(&self, answer: io::Result<usize>) -> io::Result<usize> {
        let Some(plan) = &self.plan else {
            return answer;
        };
        let answer = answer?;
        match plan.pick(Layer::EnterCall, Path::new(""), 0..0) {
            None => Ok(answer),
            Some(fault) => {
                plan.count(fault);
                let refused = fault == Fault::RingRefused;
                let code = if refused { libc::EPERM } else { libc::EBUSY };
                Err(io::Error::from_raw_os_error(code))
            }
        }
    }
}
