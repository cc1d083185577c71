use std::path::PathBuf;

use anyhow::Result;
use engram_kit::{
    console::size, envelope::Outcome, moved_stripes::MovedStripes, progress::Progress, say,
};

use super::checkpoint::CheckpointArgs;
use crate::{lean, lean_bytes};

/// Make a checkpoint without its tables, for engines that read them from a pack
#[derive(clap::Args)]
#[command(after_help = "\
Every byte that is left out is compared with what the pack would give back. In a GGUF file the table becomes a hole, and
all else stays at its place. The files that hold tables may be removed then; `engram-pack restore` makes them again, to
the bit.

Example:
  engram-pack lean checkpoint pack -o lean")]
pub(crate) struct Args {
    #[command(flatten)]
    checkpoint: CheckpointArgs,
    /// Folder of the pack that was built from it
    pack: PathBuf,
    /// Folder of the lean checkpoint; must be empty or missing
    #[arg(short, long, value_name = "LEAN")]
    output: PathBuf,
    #[command(flatten)]
    moved: MovedStripes,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let checkpoint = self.checkpoint.open()?;
        let progress = Progress::new(lean_bytes(&checkpoint), "comparing");
        let stripes = self.moved.by_number();
        let report = lean(&checkpoint, &self.pack, &stripes, &self.output, &|bytes| {
            progress.add(bytes);
        })?;
        progress.finish();
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
                checkpoint.folder.display()
            );
        }
        say!(
            "not needed any more, {} in all, equal to what the pack gives back:",
            size(report.table_file_bytes)
        );
        for path in &report.replaced {
            say!("  {}", path.display());
        }
        Ok(Outcome::new(&report)?.of_pack(&self.pack))
    }
}
