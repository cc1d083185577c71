//! What can go wrong on the way to a device.

use engram::{LayerId, LookupError};
use thiserror::Error;

/// A device that cannot be used, or did not do what it was told.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No driver for NVIDIA's GPUs is installed.
    #[error("no CUDA driver: {library} cannot be loaded")]
    NoDriver {
        /// The library that was looked for.
        library: &'static str,
    },
    /// A driver that is too old.
    #[error("the CUDA driver is of version {found}, expected {expected} or later")]
    OldDriver {
        /// Its version: 1,000 times the major number and 10 times the minor one.
        found: i32,
        /// The oldest that will do.
        expected: i32,
    },
    /// A device that is not there.
    #[error("there is no CUDA device {ordinal}, found {count}")]
    NoDevice {
        /// The number asked for.
        ordinal: u32,
        /// How many there are.
        count: u32,
    },
    /// A device that lacks something that is needed.
    #[error("{device} cannot {what}")]
    Unsupported {
        /// The device.
        device: String,
        /// What it cannot do.
        what: &'static str,
    },
    /// Rows or columns that belong elsewhere.
    #[error("{what} are not of {expected}")]
    Foreign {
        /// What belongs elsewhere.
        what: &'static str,
        /// What it should have in common.
        expected: &'static str,
    },
    /// What a graph cannot do again.
    #[error("the stream is being captured, and a graph cannot do this again and again")]
    Captured,
    /// A ring that does nothing any more.
    #[error(
        "the way of layer {layer} has ended: the driver refused a pass before, or a thread has panicked"
    )]
    Ended {
        /// The layer.
        layer: LayerId,
    },
    /// A call of the driver that failed.
    #[error("{call}: {message}")]
    Call {
        /// The driver's function.
        call: &'static str,
        /// What the driver says.
        message: String,
    },
    /// No memory.
    #[error("no {bytes} bytes of {kind} memory")]
    NoMemory {
        /// Of the host or the device.
        kind: &'static str,
        /// Bytes asked for.
        bytes: usize,
    },
    /// A request that makes no sense, or is beyond a limit.
    #[error("{field} is {found}, expected {expected}")]
    Request {
        /// What makes no sense.
        field: &'static str,
        /// Its value.
        found: u64,
        /// What would do.
        expected: String,
    },
    /// Rows that cannot be had.
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

/// Checks a part of a request.
pub(crate) fn expect(
    fits: bool,
    field: &'static str,
    found: usize,
    expected: impl Into<String>,
) -> Result<(), DeviceError> {
    if fits {
        return Ok(());
    }
    Err(DeviceError::Request {
        field,
        found: found as u64,
        expected: expected.into(),
    })
}
