//! The `engram-bench` command.

#![forbid(unsafe_code)]

mod cmd;
mod device;
mod fio;
mod raw;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use engram_kit::console;

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
    Pcie(cmd::pcie::Args),
    Overlap(cmd::overlap::Args),
    Seeding(cmd::seeding::Args),
    Serve(cmd::serve::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Nvme(args) => args.run(),
        Command::Dram(args) => args.run(),
        Command::Mixed(args) => args.run(),
        Command::Locality(args) => args.run(),
        Command::Pcie(args) => args.run(),
        Command::Overlap(args) => args.run(),
        Command::Seeding(args) => args.run(),
        Command::Serve(args) => args.run(),
    };
    console::exit(result.map(|()| ExitCode::SUCCESS))
}
