use std::path::PathBuf;

use anyhow::Result;
use engram_kit::{
    console::size, envelope::Outcome, moved_stripes::MovedStripes, progress::Progress, say,
};

use crate::{RestoreOptions, restore, restored_bytes};

/// Make the checkpoint again that a lean one was made from
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  engram-pack restore lean -o checkpoint")]
pub(crate) struct Args {
    /// Folder of the lean checkpoint
    lean: PathBuf,
    /// Folder of the checkpoint; must be empty or missing
    #[arg(short, long, value_name = "CHECKPOINT")]
    output: PathBuf,
    /// Where the pack lies, if not where it was
    #[arg(long, value_name = "DIR")]
    pack: Option<PathBuf>,
    #[command(flatten)]
    moved: MovedStripes,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let progress = Progress::new(restored_bytes(&self.lean)?, "restoring");
        let options = RestoreOptions {
            pack: self.pack,
            stripes: self.moved.by_number(),
        };
        let report = restore(&self.lean, &options, &self.output, &|bytes| {
            progress.add(bytes);
        })?;
        progress.finish();
        say!(
            "{}: {} files with tables as they were ({}), {} other files linked",
            self.output.display(),
            report.files,
            size(report.bytes),
            report.hard_links + report.symbolic_links,
        );
        Outcome::new(&report)
    }
}
