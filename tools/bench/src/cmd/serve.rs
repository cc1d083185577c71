use anyhow::Result;
use engram_bench::{ours::SERVERS, serve};

/// Decode many sequences while prompts arrive, each reader in turn
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    serve: serve::Args,
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        self.serve.run(&SERVERS)
    }
}
