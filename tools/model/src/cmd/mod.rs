//! One file for each subcommand.

pub(crate) mod bench;
pub(crate) mod generate;
pub(crate) mod synth;
pub(crate) mod train;
