use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use engram_checkpoint::Checkpoint;
use engram_kit::{console::print_json, say};

use crate::{AttachOptions, attach_with};
use serde_json::json;

/// Make a pack that reads the checkpoint's own files, without a copy
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder with config.json and safetensors files, which must stay
    checkpoint: PathBuf,
    /// Folder of the pack; must be empty or missing
    #[arg(short, long, value_name = "PACK")]
    output: PathBuf,
    /// Keep tables with many zero rows in sequence
    #[arg(long)]
    allow_zeros: bool,
    /// tokenizer.json, or a token map with the extension u32le, if not in the checkpoint
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Report as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let checkpoint = Checkpoint::open(&self.checkpoint, self.tokenizer.as_deref())?;
        let options = AttachOptions {
            allow_zeros: self.allow_zeros,
        };
        let manifest = attach_with(&checkpoint, &self.output, &options)?;
        let reads: usize = manifest
            .tables
            .iter()
            .map(|table| table.planes.len())
            .max()
            .unwrap_or(1);
        let samples: usize = manifest
            .tables
            .iter()
            .map(|table| table.samples.len())
            .sum();
        if self.json {
            print_json(&json!({
                "sources": manifest.sources.len(),
                "samples": samples,
                "reads_per_row": reads,
                "padding_rows": checkpoint.padding_rows(),
                "notes": checkpoint.notes,
            }))?;
        } else {
            say!(
                "{}: attached to {} files with {samples} sampled rows; each row takes {reads} reads and has no seal",
                self.output.display(),
                manifest.sources.len(),
            );
            if checkpoint.padding_rows() > 0 {
                say!("left out: {} rows of padding", checkpoint.padding_rows());
            }
            for note in &checkpoint.notes {
                say!("note: {note}");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
