use anyhow::Result;
use engram_kit::envelope::Outcome;

use crate::{mixed, ours::READERS};

/// Look up real texts with little memory, each reader in turn
///
/// The pack should be several times larger than that memory.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    mixed: mixed::Args,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        self.mixed.run(&READERS)
    }
}
