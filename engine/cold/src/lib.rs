//! Rows in Zstandard frames: from the records of a packed shard to the frames of a cold one, and back.
//!
//! Where the frames lie is in [`engram_format::ColdColumn`] (`format-spec/FORMAT.md`, "Cold packs"). It is a crate of
//! its own so that who reads no cold packs need not build Zstandard.

#![forbid(unsafe_code)]

mod decoder;
mod dictionary;
mod encoder;
mod error;
mod file;

pub use decoder::{Decoder, Frames};
pub use dictionary::train;
pub use encoder::{Encoder, LEVELS};
pub use error::{ColdError, FrameError};
pub use file::{ColdFile, FrameBuffer};
