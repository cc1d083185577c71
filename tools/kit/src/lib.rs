//! What the tools share, so that no tool needs to import another.
//!
//! `cli` runs a command; `envelope` is what all of them report as JSON. The feature `plot` adds pictures.

#![forbid(unsafe_code)]

pub mod cli;
pub mod console;
pub mod drive;
pub mod envelope;
pub mod exit;
pub mod figure;
pub mod limits;
mod log;
pub mod machine;
pub mod manual;
pub mod moved_stripes;
pub mod pack_facts;
pub mod parallel;
#[cfg(feature = "plot")]
pub mod plot;
pub mod progress;
pub mod random;
pub mod report;
pub mod stats;
pub mod texts;
