//! The `engram-pack` command, for its binary and for programs that carry it.

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};
use engram_kit::{console, limits, warnings};

use crate::cmd;

/// Builds, inspects and verifies packs of N-gram memory tables.
#[derive(Parser)]
#[command(name = "engram-pack", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Synth(cmd::synth::Args),
    Build(cmd::build::Args),
    Attach(cmd::attach::Args),
    Inspect(cmd::inspect::Args),
    Verify(cmd::verify::Args),
    Lean(cmd::lean::Args),
    Restore(cmd::restore::Args),
    Profile(cmd::profile::Args),
    Rows(cmd::rows::Args),
    Get(cmd::get::Args),
    Demo(cmd::demo::Args),
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
        Command::Synth(args) => args.run(),
        Command::Build(args) => args.run(),
        Command::Attach(args) => args.run(),
        Command::Inspect(args) => args.run(),
        Command::Verify(args) => args.run(),
        Command::Lean(args) => args.run(),
        Command::Restore(args) => args.run(),
        Command::Profile(args) => args.run(),
        Command::Rows(args) => args.run(),
        Command::Get(args) => args.run(),
        Command::Demo(args) => args.run(),
    };
    console::exit(result)
}
