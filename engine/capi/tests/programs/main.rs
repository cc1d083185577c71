//! Programs in C and C++, compiled and run against the library as it is installed. Without a compiler they are skipped.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod attached;
mod checkers;
mod examples;
mod forks;
mod harness;
mod installed;
mod same_rows;
mod statuses;
mod symbols;
