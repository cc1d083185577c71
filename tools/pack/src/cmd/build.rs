use std::path::PathBuf;

use anyhow::Result;
use engram_kit::{
    console::{duration, note, rate, size},
    envelope::Outcome,
    exit,
    progress::Progress,
    say,
};

use super::checkpoint::CheckpointArgs;
use crate::{BuildOptions, BuildPlan, build, source_bytes};

/// Build a pack from a checkpoint
///
/// Each column's shard gets its name once it is whole and on the drive, and the manifest comes last. So a build may be
/// stopped at any time, by Ctrl-C too: no program takes what is there for a pack, and --resume goes on with the shards
/// that are missing, to the same bytes.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  engram-pack build checkpoint -o pack
  engram-pack build deepseek-ai/DeepSeek-V4.1-Flash -o pack --dry-run
  engram-pack build checkpoint -o pack --resume --progress plain")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct Args {
    #[command(flatten)]
    checkpoint: CheckpointArgs,
    /// Folder of the pack; must be empty or missing
    #[arg(short, long, value_name = "PACK")]
    output: PathBuf,
    /// Spread the shards over this folder and others given so, best each on a drive of its own; outside of the pack
    /// they must be empty or missing
    #[arg(long = "stripe", value_name = "DIR")]
    stripes: Vec<PathBuf>,
    /// Shards built at a time [default: twice the cores, up to 8]
    #[arg(long, value_name = "J", default_value_t = 0, hide_default_value = true)]
    jobs: usize,
    /// Go on with an unfinished build
    #[arg(long)]
    resume: bool,
    /// Keep rows with codes that are not numbers
    #[arg(long)]
    allow_nan: bool,
    /// Keep tables with many zero rows in sequence
    #[arg(long)]
    allow_zeros: bool,
    /// Say what would be written, whether it fits and how long it takes, and leave nothing behind
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let checkpoint = self.checkpoint.open()?;
        if self.dry_run {
            return plan(&BuildPlan::new(&checkpoint, &self.output)?);
        }
        let options = BuildOptions {
            jobs: self.jobs,
            resume: self.resume,
            stripes: self.stripes,
            allow_nan: self.allow_nan,
            allow_zeros: self.allow_zeros,
            ..BuildOptions::default()
        };
        let progress = Progress::new(source_bytes(&checkpoint), "packing");
        let report = build(&checkpoint, &self.output, &options, &|bytes| {
            progress.add(bytes);
        })?;
        progress.finish();
        say!(
            "{}: {} rows in {} shards ({} built before), {} written, {}",
            self.output.display(),
            report.rows,
            report.shards,
            report.shards_resumed,
            size(report.bytes_written),
            rate(report.bytes_written, report.seconds),
        );
        if report.padding_rows > 0 {
            say!("left out: {} rows of padding", report.padding_rows);
        }
        for text in &report.notes {
            note(text);
        }
        Ok(Outcome::new(&report)?.of_pack(&self.output))
    }
}

pub(super) fn plan(plan: &BuildPlan) -> Result<Outcome> {
    for table in &plan.tables {
        say!(
            "table   layer {}: {} rows of {}, {} in {} shards",
            table.layer,
            table.rows,
            table.codec,
            size(table.bytes),
            table.shards
        );
    }
    say!(
        "pack    {}, read from {} of rows",
        size(plan.bytes),
        size(plan.row_bytes)
    );
    if let Some(seconds) = plan.seconds {
        say!(
            "time    {} or less, at {}",
            duration(seconds),
            rate(plan.row_bytes, seconds)
        );
    }
    let code = match plan.free_bytes {
        Some(free) if free < plan.bytes => {
            say!("drive   {} free: it does not fit", size(free));
            exit::FAILED
        }
        Some(free) => {
            say!("drive   {} free", size(free));
            exit::DONE
        }
        None => {
            say!("drive   free space is not known");
            exit::DONE
        }
    };
    Ok(Outcome::new(plan)?.exit_code(code))
}
