//! One module for each subcommand.

pub(crate) mod dram;
pub(crate) mod locality;
pub(crate) mod mixed;
pub(crate) mod nvme;
pub(crate) mod overlap;
pub(crate) mod pcie;
pub(crate) mod seeding;
pub(crate) mod serve;
