//! The checkpoint that a pack is made of.

use std::path::PathBuf;

use anyhow::Result;
use engram_checkpoint::Checkpoint;

use crate::hub::Model;

/// Which checkpoint.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct CheckpointArgs {
    /// Folder with config.json and safetensors files, a GGUF file, or a model of the hub that has been downloaded:
    /// ORGANISATION/MODEL[@REVISION]
    checkpoint: PathBuf,
    /// tokenizer.json, or a token map with the extension u32le, if not in the checkpoint
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
}

impl CheckpointArgs {
    pub(super) fn open(&self) -> Result<Checkpoint> {
        let tokenizer = self.tokenizer.as_deref();
        let model = Model::parse(&self.checkpoint).filter(|_| !self.checkpoint.exists());
        let Some(model) = model else {
            return Ok(Checkpoint::open(&self.checkpoint, tokenizer)?);
        };
        let folder = model.find()?;
        let opened = Checkpoint::open(&folder, tokenizer);
        opened.map_err(|error| match model.advice(&folder, tokenizer) {
            Some(advice) => anyhow::Error::new(error).context(advice),
            None => error.into(),
        })
    }
}
