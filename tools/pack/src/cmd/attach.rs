use std::path::PathBuf;

use anyhow::Result;
use engram_kit::{console::note, envelope::Outcome, say};

use super::checkpoint::CheckpointArgs;
use crate::{AttachOptions, attach_plan, attach_with};
use serde_json::json;

/// Make a pack that reads the checkpoint's own files, without a copy
///
/// The checkpoint must stay where it is. Rows of such a pack have no seals, so damage is not noticed.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  engram-pack attach deepseek-ai/DeepSeek-V4.1-Flash -o pack
  engram-pack attach model.gguf -o pack
  engram-pack attach ngram-table.safetensors --scheme qwen3.8-flash-next -o pack")]
pub(crate) struct Args {
    #[command(flatten)]
    checkpoint: CheckpointArgs,
    /// Folder of the pack; must be empty or missing
    #[arg(short, long, value_name = "PACK")]
    output: PathBuf,
    /// Keep tables with many zero rows in sequence
    #[arg(long)]
    allow_zeros: bool,
    /// Look at the checkpoint as if to attach it, and write nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let checkpoint = self.checkpoint.open()?;
        let options = AttachOptions {
            allow_zeros: self.allow_zeros,
        };
        let manifest = if self.dry_run {
            attach_plan(&checkpoint, &self.output, &options)?
        } else {
            attach_with(&checkpoint, &self.output, &options)?
        };
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
        say!(
            "{}: {} to {} files with {samples} sampled rows; each row takes {reads} {} and has no seal",
            self.output.display(),
            if self.dry_run {
                "would be attached"
            } else {
                "attached"
            },
            manifest.sources.len(),
            if reads == 1 { "read" } else { "reads" },
        );
        if checkpoint.padding_rows() > 0 {
            say!("left out: {} rows of padding", checkpoint.padding_rows());
        }
        for text in &checkpoint.notes {
            note(text);
        }
        let report = json!({
            "sources": manifest.sources.len(),
            "samples": samples,
            "reads_per_row": reads,
            "padding_rows": checkpoint.padding_rows(),
            "notes": checkpoint.notes,
        });
        let outcome = Outcome::new(&report)?;
        Ok(if self.dry_run {
            outcome
        } else {
            outcome.of_pack(&self.output)
        })
    }
}
