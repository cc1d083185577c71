//! The `engram-pack` command, for its binary and for programs that carry it.

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

/// Builds, inspects and verifies packs of N-gram memory tables.
#[derive(Parser)]
#[command(name = "engram-pack", version, max_term_width = 100, after_help = exit::HELP)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Synth(cmd::synth::Args),
    Build(cmd::build::Args),
    Attach(cmd::attach::Args),
    Convert(cmd::convert::Args),
    #[command(visible_aliases = ["info", "ls"])]
    Inspect(cmd::inspect::Args),
    Verify(cmd::verify::Args),
    Freeze(cmd::freeze::Args),
    Thaw(cmd::thaw::Args),
    Lean(cmd::lean::Args),
    Restore(cmd::restore::Args),
    Stats(cmd::stats::Args),
    Profile(cmd::profile::Args),
    Rows(cmd::rows::Args),
    Get(cmd::get::Args),
    Collisions(cmd::collisions::Args),
    Edit(cmd::edit::Args),
    Doctor(cmd::doctor::Args),
    Demo(cmd::demo::Args),
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
            Self::Synth(args) => args.run(),
            Self::Build(args) => args.run(),
            Self::Attach(args) => args.run(),
            Self::Convert(args) => args.run(),
            Self::Inspect(args) => args.run(),
            Self::Verify(args) => args.run(),
            Self::Freeze(args) => args.run(),
            Self::Thaw(args) => args.run(),
            Self::Lean(args) => args.run(),
            Self::Restore(args) => args.run(),
            Self::Stats(args) => args.run(),
            Self::Profile(args) => args.run(),
            Self::Rows(args) => args.run(),
            Self::Get(args) => args.run(),
            Self::Collisions(args) => args.run(),
            Self::Edit(args) => args.run(),
            Self::Doctor(args) => args.run(),
            Self::Demo(args) => args.run(),
            Self::Completions(args) => args.run(Cli::command()),
            Self::Man(args) => args.run(Cli::command()),
        }
    }
}
