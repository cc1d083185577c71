//! What the tools share, so that no tool needs to import another.
//!
//! Nothing here knows packs or models; the feature `plot` adds pictures.

#![forbid(unsafe_code)]

pub mod console;
pub mod limits;
pub mod parallel;
#[cfg(feature = "plot")]
pub mod plot;
pub mod random;
pub mod report;
pub mod stats;
pub mod texts;
pub mod warnings;
