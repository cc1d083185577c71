//! The `engram-bench` command.

#![forbid(unsafe_code)]

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    engram_bench::cli::run(env::args_os())
}
