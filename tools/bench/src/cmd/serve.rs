use anyhow::Result;
use engram_kit::envelope::Outcome;

use crate::{ours::SERVERS, serve};

/// Decode many sequences while prompts arrive, each reader in turn
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    serve: serve::Args,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        self.serve.run(&SERVERS)
    }
}
