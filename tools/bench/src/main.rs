//! The `engram-bench` command.

#![forbid(unsafe_code)]

mod cmd;

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

fn main() -> ExitCode {
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
