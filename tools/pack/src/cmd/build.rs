use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use engram_checkpoint::Checkpoint;
use engram_kit::{
    console::{print_json, progress_bar, rate, size},
    say,
};

use crate::{BuildOptions, build, source_bytes};

/// Build a pack from a checkpoint
#[derive(clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct Args {
    /// Folder with config.json and safetensors files
    checkpoint: PathBuf,
    /// Folder of the pack; must be empty or missing
    #[arg(short, long, value_name = "PACK")]
    output: PathBuf,
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
        let options = BuildOptions {
            jobs: self.jobs,
            resume: self.resume,
            allow_nan: self.allow_nan,
            allow_zeros: self.allow_zeros,
            ..BuildOptions::default()
        };
        let bar = progress_bar(source_bytes(&checkpoint), "packing");
        let report = build(&checkpoint, &self.output, &options, &|bytes| bar.inc(bytes))?;
        bar.finish_and_clear();
        if self.json {
            print_json(&report)?;
        } else {
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
            for note in &report.notes {
                say!("note: {note}");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
