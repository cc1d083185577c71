//! The `engram-bench` command, for its binary and for programs that carry it.

use std::{ffi::OsString, process::ExitCode};

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use engram_kit::{
    cli::{self, CommonArgs},
    envelope::Outcome,
    exit,
    manual::{CompletionsArgs, ManArgs},
};

use crate::cmd;

const EXAMPLES: &str = "\
Examples:
  engram-bench nvme pack --plot nvme.svg
  engram-bench mixed pack --memory 1024 --trace english.u32le --json=mixed.json";

/// Measures retrieval from packs, each figure beside the limit or the peer of the same run.
#[derive(Parser)]
#[command(
    name = "engram-bench",
    version,
    max_term_width = 100,
    after_help = format!("{EXAMPLES}\n\n{}", exit::HELP)
)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
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
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Runs the command with `args`, the first of which is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    cli::run(args, |cli: &Cli| &cli.common, |cli| cli.command.run())
}

impl Command {
    fn run(self) -> Result<Outcome> {
        match self {
            Self::Nvme(args) => args.run(),
            Self::Dram(args) => args.run(),
            Self::Mixed(args) => args.run(),
            Self::Locality(args) => args.run(),
            Self::Pcie(args) => args.run(),
            Self::Overlap(args) => args.run(),
            Self::Seeding(args) => args.run(),
            Self::Serve(args) => args.run(),
            Self::Completions(args) => args.run(Cli::command()),
            Self::Man(args) => args.run(Cli::command()),
        }
    }
}
