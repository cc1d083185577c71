//! The `engram-bench` command, for its binary and for programs that carry it.

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};
use engram_kit::{console, limits, warnings};

use crate::cmd;

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

/// Runs the command with `args`, the first of which is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return console::exit_with_usage(&error),
    };
    limits::raise_open_files();
    warnings::show();
    let result = match cli.command {
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
