//! Other storages of rows under the traffic of `engram-bench mixed`.
//!
//! ```text
//! engram-compare prepare --pack PACK      # copies the rows into each storage, in PACK.peers
//! engram-compare run --pack PACK --memory 256 --trace FILE
//! ```

mod peers;
mod prepare;

use anyhow::Result;
use clap::{Parser, Subcommand};
use engram_bench::{mixed, ours};

#[derive(Parser)]
#[command(version)]
struct Cli {
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

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Prepare(args) => args.run(),
        Command::Run(args) => {
            let ours = ours::READERS
                .into_iter()
                .filter(|(name, _)| name.contains("cache"));
            args.run(&ours.chain(peers::PEERS).collect::<Vec<_>>())
        }
    }
}
