use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use engram::read_manifest;
use engram_kit::{
    console::{print_json, progress_bar, rate, size},
    say,
};
use engram_pack::{VerifyOptions, pack_bytes, verify};

/// Read a whole pack and name every damaged record; exit code 1 if there is one
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the pack
    pack: PathBuf,
    /// Read only this percentage of the records, evenly spread
    #[arg(long, value_name = "P")]
    sample: Option<f64>,
    /// Shards read at a time [default: twice the cores, up to 8]
    #[arg(long, value_name = "J", default_value_t = 0, hide_default_value = true)]
    jobs: usize,
    /// Where the checkpoint behind an attached pack lies now
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Report as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let options = VerifyOptions {
            jobs: self.jobs,
            sample: self.sample,
            checkpoint: self.checkpoint,
        };
        let bar = progress_bar(pack_bytes(&read_manifest(&self.pack)?), "verifying");
        let report = verify(&self.pack, &options, &|bytes| bar.inc(bytes))?;
        bar.finish_and_clear();
        if self.json {
            print_json(&report)?;
        } else {
            for damage in &report.damage {
                let rows = match (damage.row, damage.records) {
                    (None, _) => String::new(),
                    (Some(row), 1) => format!(", row {row}"),
                    (Some(row), records) => format!(", rows {row} to {}", row + records - 1),
                };
                say!(
                    "damaged: {}{rows}, offset {}: {}",
                    damage.file,
                    damage.offset,
                    damage.what
                );
            }
            say!(
                "{} records read ({}, {}), {} places damaged",
                report.records,
                size(report.bytes),
                rate(report.bytes, report.seconds),
                report.damage.len(),
            );
        }
        Ok(if report.damage.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
