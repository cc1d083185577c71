use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use engram_checkpoint::Checkpoint;
use engram_kit::{
    console::{print_json, progress_bar, size},
    say,
};

use crate::{lean, lean_bytes};

/// Make a checkpoint without its tables, for engines that read them from a pack
#[derive(clap::Args)]
#[command(after_help = "\
Every byte that is left out is compared with what the pack would give back. The files that hold tables may be removed
then; `engram-pack restore` makes them again, to the bit.")]
pub(crate) struct Args {
    /// Folder with config.json and safetensors files
    checkpoint: PathBuf,
    /// Folder of the pack that was built from it
    pack: PathBuf,
    /// Folder of the lean checkpoint; must be empty or missing
    #[arg(short, long, value_name = "LEAN")]
    output: PathBuf,
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
        let bar = progress_bar(lean_bytes(&checkpoint), "comparing");
        let report = lean(&checkpoint, &self.pack, &self.output, &|bytes| {
            bar.inc(bytes);
        })?;
        bar.finish_and_clear();
        if self.json {
            print_json(&report)?;
            return Ok(ExitCode::SUCCESS);
        }
        say!(
            "{}: {} of other tensors copied, {} files linked",
            self.output.display(),
            size(report.copied_bytes),
            report.hard_links + report.symbolic_links,
        );
        if report.symbolic_links > 0 {
            say!(
                "{} of the links are symbolic and need the files of {}",
                report.symbolic_links,
                self.checkpoint.display()
            );
        }
        say!(
            "not needed any more, {} in all, equal to what the pack gives back:",
            size(report.table_file_bytes)
        );
        for path in &report.replaced {
            say!("  {}", path.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}
