use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use engram::read_manifest;
use engram_kit::{
    console::{print_json, progress_bar, rate, size},
    say,
};

use crate::{Place, VerifyOptions, pack_bytes, verify};

/// The exit code for damage; 1 is any error, 2 wrong usage.
const DAMAGED: u8 = 3;

/// Read a whole pack and name every damaged record
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes:
  0  all that was read is sound
  1  something could not be read, which says nothing of the pack itself
  2  wrong usage
  3  something is damaged or missing")]
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
            ..VerifyOptions::default()
        };
        let bar = progress_bar(pack_bytes(&read_manifest(&self.pack)?), "verifying");
        let report = verify(&self.pack, &options, &|bytes| bar.inc(bytes))?;
        bar.finish_and_clear();
        if self.json {
            print_json(&report)?;
        } else {
            print("damaged", &report.damage)?;
            print("cannot be read", &report.unread)?;
            say!(
                "{} records read ({}, {}), {} places damaged, {} not readable",
                report.records,
                size(report.bytes),
                rate(report.bytes, report.seconds),
                report.damage.len(),
                report.unread.len(),
            );
        }
        Ok(if !report.damage.is_empty() {
            DAMAGED.into()
        } else if !report.unread.is_empty() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn print(flaw: &str, places: &[Place]) -> Result<()> {
    for place in places {
        let rows = match (place.row, place.records) {
            (None, _) => String::new(),
            (Some(row), 1) => format!(", row {row}"),
            (Some(row), records) => format!(", rows {row} to {}", row + records - 1),
        };
        let (file, offset, what) = (&place.file, place.offset, &place.what);
        say!("{flaw}: {file}{rows}, offset {offset}: {what}");
    }
    Ok(())
}
