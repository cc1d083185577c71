//! How retrieval is measured: cold files, equal memory, real texts, and the comparison that other storages join.

#![forbid(unsafe_code)]

mod cgroup;
pub mod cold;
pub mod mixed;
pub mod ours;
pub mod row_choice;
pub mod serve;
pub mod timing;
