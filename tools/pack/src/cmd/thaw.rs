use std::path::PathBuf;

use anyhow::Result;
use engram::read_manifest;
use engram_kit::{
    console::{rate, size},
    envelope::Outcome,
    progress::Progress,
    say,
};

use crate::{ThawOptions, thaw, thawed_bytes};

/// Make the pack again that a cold one was made of
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  engram-pack thaw cold -o pack
  engram-pack thaw cold -o pack --stripe /mnt/a/pack --stripe /mnt/b/pack")]
pub(crate) struct Args {
    /// Folder of the cold pack
    cold: PathBuf,
    /// Folder of the pack; must be empty or missing
    #[arg(short, long, value_name = "PACK")]
    output: PathBuf,
    /// Spread the shards over this folder and others given so, best each on a drive of its own; outside of the pack
    /// they must be empty or missing
    #[arg(long = "stripe", value_name = "DIR")]
    stripes: Vec<PathBuf>,
    /// Shards thawed at a time [default: twice the cores, up to 8]
    #[arg(long, value_name = "J", default_value_t = 0, hide_default_value = true)]
    jobs: usize,
    /// Go on with an unfinished pack
    #[arg(long)]
    resume: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let options = ThawOptions {
            jobs: self.jobs,
            resume: self.resume,
            stripes: self.stripes,
            ..ThawOptions::default()
        };
        let progress = Progress::new(thawed_bytes(&read_manifest(&self.cold)?), "thawing");
        let report = thaw(&self.cold, &self.output, &options, &|bytes| {
            progress.add(bytes);
        })?;
        progress.finish();
        say!(
            "{}: {} rows in {} shards ({} thawed before), {} written, {}",
            self.output.display(),
            report.rows,
            report.shards,
            report.shards_resumed,
            size(report.bytes_written),
            rate(report.bytes_written, report.seconds),
        );
        Ok(Outcome::new(&report)?.of_pack(&self.output))
    }
}
