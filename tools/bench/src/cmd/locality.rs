use anyhow::Result;

/// todo
#[derive(clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        Ok(())
    }
}
