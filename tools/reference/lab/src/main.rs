//! The `engram-model` command.

#![forbid(unsafe_code)]

mod cmd;
mod compare;
mod layers;
mod model_under_study;
mod open;
mod study;
mod synth;
mod text;
mod tiers;
mod token_classes;
mod token_kind;
mod training;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use engram_kit::console;

/// Runs models that take their Engram rows from a pack.
#[derive(Parser)]
#[command(name = "engram-model", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Generate(cmd::generate::Args),
    Bench(cmd::bench::Args),
    Synth(cmd::synth::Args),
    Train(cmd::train::Args),
    Demo(cmd::demo::Args),
    Sweep(cmd::sweep::Args),
    Position(cmd::position::Args),
    Gates(cmd::gates::Args),
    Lens(cmd::lens::Args),
    Similarity(cmd::similarity::Args),
    Classes(cmd::classes::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Generate(args) => args.run(),
        Command::Bench(args) => args.run(),
        Command::Synth(args) => args.run(),
        Command::Train(args) => args.run(),
        Command::Demo(args) => args.run(),
        Command::Sweep(args) => args.run(),
        Command::Position(args) => args.run(),
        Command::Gates(args) => args.run(),
        Command::Lens(args) => args.run(),
        Command::Similarity(args) => args.run(),
        Command::Classes(args) => args.run(),
    };
    console::exit(result.map(|()| ExitCode::SUCCESS))
}
