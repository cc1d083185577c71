//! The `engram-pack` command.

#![forbid(unsafe_code)]

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    engram_pack::cli::run(env::args_os())
}
