use std::path::PathBuf;

use anyhow::Result;
use engram::read_manifest;
use engram_kit::{
    console::{rate, size},
    envelope::Outcome,
    exit,
    moved_stripes::MovedStripes,
    progress::Progress,
    say,
};

use crate::{Place, VerifyOptions, pack_bytes, verify};

const EXAMPLES: &str = "\
Examples:
  engram-pack verify pack
  engram-pack verify pack --sample 1 --json | jq .report.damage";

/// Read a whole pack and name every damaged record
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
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
    #[command(flatten)]
    moved: MovedStripes,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let options = VerifyOptions {
            jobs: self.jobs,
            sample: self.sample,
            checkpoint: self.checkpoint,
            stripes: self.moved.by_number(),
            ..VerifyOptions::default()
        };
        let progress = Progress::new(pack_bytes(&read_manifest(&self.pack)?), "verifying");
        let report = verify(&self.pack, &options, &|bytes| progress.add(bytes))?;
        progress.finish();
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
        let code = if !report.damage.is_empty() {
            exit::DAMAGED
        } else if !report.unread.is_empty() {
            exit::FAILED
        } else {
            exit::DONE
        };
        Ok(Outcome::new(&report)?.of_pack(&self.pack).exit_code(code))
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
