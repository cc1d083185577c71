//! What can be wrong with a frame, and with the file of many.

use std::path::PathBuf;

use engram_format::FormatError;
use engram_io::IoError;
use thiserror::Error;

/// A frame that is not what its index says. None of its rows is handed out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Another length than in the index.
    #[error("frame {frame} has {found} bytes, the index says {expected}")]
    Length {
        /// The frame.
        frame: u64,
        /// Bytes found.
        found: usize,
        /// Bytes that the index says.
        expected: u32,
    },
    /// Bytes that are not those that were written.
    #[error("frame {frame} has checksum {found:016x}, expected {expected:016x}")]
    Checksum {
        /// The frame.
        frame: u64,
        /// Checksum of its bytes.
        found: u64,
        /// Checksum in the index.
        expected: u64,
    },
    /// A frame of more or fewer bytes than its rows have, found before it is decompressed.
    #[error("frame {frame} is of {found} bytes, its rows have {expected}")]
    Size {
        /// The frame.
        frame: u64,
        /// Bytes that it says to hold.
        found: u64,
        /// Bytes of its rows.
        expected: u64,
    },
    /// Bytes that are no Zstandard frame, or not just one, or one of another dictionary.
    #[error("frame {frame} cannot be decompressed: {reason}")]
    NotAFrame {
        /// The frame.
        frame: u64,
        /// What Zstandard says.
        reason: &'static str,
    },
    /// Rows that are not those that were sealed at this place.
    #[error(
        "frame {frame} has rows whose seals have digest {found:016x}, expected {expected:016x}"
    )]
    Seals {
        /// The frame.
        frame: u64,
        /// Digest of the seals of its rows.
        found: u64,
        /// Digest in the index.
        expected: u64,
    },
}

/// The file of a column of a cold pack that cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ColdError {
    /// A file that is not what the manifest or the format says.
    #[error("{}: {cause}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: FormatError,
    },
    /// A frame that is not what its index says.
    #[error("{}: {cause}", path.display())]
    Frame {
        /// The file.
        path: PathBuf,
        /// Offset of the frame.
        offset: u64,
        /// What is wrong with it.
        cause: FrameError,
    },
    /// A read that failed.
    #[error(transparent)]
    Io(#[from] IoError),
}
