//! One file for each subcommand.

pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod generate;
pub(crate) mod position;
pub(crate) mod sweep;
pub(crate) mod synth;
pub(crate) mod train;
