//! Programs in C and C++, compiled and run against the library as it is installed. Without a compiler they are skipped.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod harness;
mod same_rows;
