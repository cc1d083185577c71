//! One file for each subcommand.

pub(crate) mod bench;
pub(crate) mod classes;
pub(crate) mod demo;
pub(crate) mod gates;
pub(crate) mod generate;
pub(crate) mod lens;
pub(crate) mod position;
pub(crate) mod quantize;
pub(crate) mod similarity;
pub(crate) mod sweep;
pub(crate) mod synth;
pub(crate) mod train;
