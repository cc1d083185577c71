//! How retrieval is measured: limits of the machine, cold files, equal memory, real texts.

#![forbid(unsafe_code)]

mod cgroup;
mod cmd;
mod cold;
mod fio;
pub mod mixed;
pub mod ours;
pub mod plot;
mod random;
mod raw;
pub mod report;
mod timing;
pub mod trace;

pub use timing::median;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures retrieval from packs, each figure beside the limit or the peer of the same run.
#[derive(Parser)]
#[command(name = "engram-bench", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Nvme(cmd::nvme::Args),
    Dram(cmd::dram::Args),
    Mixed(cmd::mixed::Args),
    Locality(cmd::locality::Args),
}

/// Runs the `engram-bench` command with the arguments of this process.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Nvme(args) => args.run(),
        Command::Dram(args) => args.run(),
        Command::Mixed(args) => args.run(),
        Command::Locality(args) => args.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
