//! How retrieval is measured: limits of the machine, cold files, equal memory, real texts.

#![forbid(unsafe_code)]

pub mod cgroup;
pub mod cold;
pub mod fio;
pub mod mixed;
pub mod plot;
pub mod random;
pub mod raw;
pub mod report;
pub mod timing;
pub mod trace;
