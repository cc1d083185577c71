//! One file for each subcommand.

pub(crate) mod bench;
pub(crate) mod classes;
pub(crate) mod gates;
pub(crate) mod generate;
pub(crate) mod lens;
pub(crate) mod similarity;
pub(crate) mod synth;
