use crate::{mixed, ours::READERS};
use anyhow::Result;

/// Look up real texts with little memory, each reader in turn
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    mixed: mixed::Args,
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        self.mixed.run(&READERS)
    }
}
