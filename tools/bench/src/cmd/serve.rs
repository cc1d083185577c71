use crate::{ours::SERVERS, serve};
use anyhow::Result;

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
