//! Other storages of rows under the traffic of `engram-bench mixed`.
//!
//! ```text
//! engram-peers prepare PACK --trace FILE --tokens 6144   # each storage's files, in PACK.peers
//! engram-peers run PACK --trace FILE --tokens 6144 --memory 256
//! ```

mod folder;
mod known;
mod peers;
mod prepare;
mod profile;
mod python;
mod registry;
mod view;

use std::{env, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use engram_bench::{mixed, ours};
use engram_kit::{
    cli::{self, CommonArgs},
    envelope::Outcome,
};

#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Copy the rows of a pack into each storage
    Prepare(prepare::Args),
    /// Run all storages in turns, each with the same memory
    Run(mixed::Args),
}

fn main() -> ExitCode {
    cli::run(env::args_os(), |cli: &Cli| &cli.common, |cli| run(cli.command))
}

fn run(command: Command) -> Result<Outcome> {
    match command {
        Command::Prepare(args) => {
            args.run()?;
            Ok(Outcome::default())
        }
        Command::Run(args) => {
            let ours = ours::READERS
                .into_iter()
                .filter(|(name, _)| name.contains("cache"));
            // A process that runs one storage is asked for it by one that has looked.
            let asks = !args.runs_one();
            let peers = registry::PEERS.into_iter().filter(|(name, _)| {
                let needs = registry::WITH_PYTHON.iter().find(|(with, _)| with == name);
                let missing = needs.filter(|(_, module)| asks && !python::has(module));
                if let Some((_, module)) = missing {
                    eprintln!("left out: {name}: no module {module} for $PYTHON");
                }
                missing.is_none()
            });
            args.run(&ours.chain(peers).collect::<Vec<_>>())
        }
    }
}
