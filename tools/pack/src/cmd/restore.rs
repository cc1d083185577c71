use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use engram_kit::{
    console::{print_json, progress_bar, size},
    say,
};

use crate::{restore, restored_bytes};

/// Make the checkpoint again that a lean one was made from
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the lean checkpoint
    lean: PathBuf,
    /// Folder of the checkpoint; must be empty or missing
    #[arg(short, long, value_name = "CHECKPOINT")]
    output: PathBuf,
    /// Where the pack lies, if not where it was
    #[arg(long, value_name = "DIR")]
    pack: Option<PathBuf>,
    /// Report as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let bar = progress_bar(restored_bytes(&self.lean)?, "restoring");
        let pack = self.pack.as_deref();
        let report = restore(&self.lean, pack, &self.output, &|bytes| bar.inc(bytes))?;
        bar.finish_and_clear();
        if self.json {
            print_json(&report)?;
        } else {
            say!(
                "{}: {} files with tables as they were ({}), {} other files linked",
                self.output.display(),
                report.files,
                size(report.bytes),
                report.hard_links + report.symbolic_links,
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}
