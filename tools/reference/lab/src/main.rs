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

use std::{env, process::ExitCode};

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use engram_kit::{
    cli::{self, CommonArgs},
    envelope::Outcome,
    exit,
    manual::{CompletionsArgs, ManArgs},
};

/// Runs models that take their Engram rows from a pack.
#[derive(Parser)]
#[command(name = "engram-model", version, max_term_width = 100, after_help = exit::HELP)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
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
    Quantize(cmd::quantize::Args),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

fn main() -> ExitCode {
    cli::run(
        env::args_os(),
        |cli: &Cli| &cli.common,
        |cli| cli.command.run(),
    )
}

impl Command {
    fn run(self) -> Result<Outcome> {
        match self {
            Self::Generate(args) => args.run(),
            Self::Bench(args) => args.run(),
            Self::Synth(args) => args.run(),
            Self::Train(args) => args.run(),
            Self::Demo(args) => args.run(),
            Self::Sweep(args) => args.run(),
            Self::Position(args) => args.run(),
            Self::Gates(args) => args.run(),
            Self::Lens(args) => args.run(),
            Self::Similarity(args) => args.run(),
            Self::Classes(args) => args.run(),
            Self::Quantize(args) => args.run(),
            Self::Completions(args) => args.run(Cli::command()),
            Self::Man(args) => args.run(Cli::command()),
        }
    }
}
