//! Other storages of rows under the traffic of `engram-bench mixed`.
//!
//! ```text
//! engram-peers prepare PACK --trace FILE --tokens 6144   # each storage's files, in PACK.peers
//! engram-peers run PACK --trace FILE --tokens 6144 --memory 256
//! engram-peers serve PACK
//! ```

mod apart;
mod folder;
mod known;
mod peers;
mod prepare;
mod profile;
mod python;
mod registry;
#[cfg(feature = "rocksdb")]
mod rocks;
mod view;

use std::{env, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use engram_bench::{mixed, ours, serve};
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
    /// Decode many sequences while prompts arrive, our readers and EngramDB in turns
    Serve(serve::Args),
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
            let peers = registry::PEERS.into_iter().chain(registry::ROCKSDB).filter(|(name, _)| {
                let needs = registry::WITH_PYTHON.iter().find(|(with, _)| with == name);
                let missing = needs.filter(|(_, module)| asks && !python::has(module));
                if let Some((_, module)) = missing {
                    eprintln!("left out: {name}: no module {module} for $PYTHON");
                }
                missing.is_none()
            });
            args.run(&ours.chain(peers).collect::<Vec<_>>())
        }
        Command::Serve(args) => {
            let servers = ours::SERVERS.into_iter().chain(registry::SERVERS);
            args.run(&servers.collect::<Vec<_>>())
        }
    }
}
