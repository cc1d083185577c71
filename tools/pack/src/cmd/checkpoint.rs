//! The checkpoint that a pack is made of.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use engram_checkpoint::{Checkpoint, CheckpointOptions, gguf_parts};

use crate::hub::Model;

/// Which checkpoint.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct CheckpointArgs {
    /// Folder with config.json and safetensors files, a GGUF file, or a model of the hub that has been downloaded:
    /// ORGANISATION/MODEL[@REVISION]. With --scheme also a safetensors file, or a folder with some
    checkpoint: PathBuf,
    /// tokenizer.json, or a token map with the extension u32le, if not in the checkpoint
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// For tables without a config.json: the name of a known model, or the path of a model's configuration
    #[arg(long, value_name = "NAME|FILE")]
    scheme: Option<String>,
}

impl CheckpointArgs {
    pub(super) fn open(&self) -> Result<Checkpoint> {
        let tokenizer = self.tokenizer.as_deref();
        let options = CheckpointOptions {
            tokenizer,
            scheme: self.scheme.as_deref(),
        };
        let name = self.checkpoint.to_string_lossy();
        ensure!(
            self.scheme.is_none() || gguf_parts(&name).is_none(),
            "{name}: a GGUF file says its scheme itself; leave --scheme out"
        );
        let model = Model::parse(&self.checkpoint).filter(|_| !self.checkpoint.exists());
        let Some(model) = model else {
            return Ok(Checkpoint::open_with(&self.checkpoint, options)?);
        };
        let folder = model.find()?;
        let opened = Checkpoint::open_with(&folder, options);
        opened.map_err(|error| match model.advice(&folder, tokenizer) {
            Some(advice) => anyhow::Error::new(error).context(advice),
            None => error.into(),
        })
    }
}
