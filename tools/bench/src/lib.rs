//! How retrieval is measured: cold files, equal memory, real texts, and the comparison that other storages join.

#![forbid(unsafe_code)]

mod caveat;
mod cgroup;
pub mod cli;
mod cmd;
pub mod cold;
mod device;
mod fio;
pub mod mixed;
pub mod ours;
pub mod pack;
mod raw;
pub mod row_choice;
pub mod serve;
pub mod timing;
