//! Builds, attaches, converts, verifies, makes lean, synthesizes and counts: the work behind the `engram-pack`
//! commands.

#![forbid(unsafe_code)]

mod attach;
mod build;
mod claim;
pub mod cli;
mod cmd;
mod collisions;
#[cfg(feature = "overlay")]
mod compact;
mod convert;
mod doctor;
mod freeze;
mod hub;
mod lean;
mod plan;
mod profile;
mod stats;
mod stop;
mod synth;
mod thaw;
mod verify;

pub use attach::{AttachOptions, attach, attach_plan, attach_with};
pub use build::{BuildOptions, BuildReport, build, source_bytes};
pub use collisions::{
    CollisionReport, ColumnCollisions, OrderCollisions, SharedRow, SuggestedNGram, collisions,
};
#[cfg(feature = "overlay")]
pub use compact::{CompactOptions, CompactReport, compact, compacted_bytes};
pub use convert::{
    CodecSpec, ColumnFidelity, ConvertOptions, ConvertReport, ConvertedTable, convert,
    plan_conversion,
};
pub use doctor::{Doctor, Finding, State, examine};
pub use freeze::{FreezeOptions, FreezeReport, FrozenColumn, freeze};
pub use lean::{
    LEAN_FILE, LeanReport, RestoreOptions, RestoreReport, lean, lean_bytes, restore, restored_bytes,
};
pub use plan::{BuildPlan, TablePlan};
pub use profile::{OrderSummary, ProfileSummary, profile};
pub use stats::{ColumnStats, StatsOptions, StatsReport, stats};
pub use stop::Stop;
pub use synth::{SynthContents, SynthOptions, SynthReport, synth, synth_family, write_checkpoint};
pub use thaw::{ThawOptions, ThawReport, thaw, thawed_bytes};
pub use verify::{Place, VerifyOptions, VerifyReport, pack_bytes, verify};

/// Called with the bytes done since the last call, from any thread.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);
