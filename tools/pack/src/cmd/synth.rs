use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use engram::SchemeName;
use engram_kit::{
    console::{print_json, progress_bar, rate, size},
    say,
};

use crate::{SynthOptions, synth};

/// Make a checkpoint in a model's own layout, smaller and with made-up contents
#[derive(clap::Args)]
pub(crate) struct Args {
    /// engram-demo-v1, deepseek-v4.1-flash, qwen3.8-flash-next or longcat-flash-lite
    #[arg(long, value_name = "NAME")]
    scheme: SchemeName,
    /// How many times smaller the tables are
    #[arg(long, value_name = "N")]
    scale: u64,
    /// Seed of the contents
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Folder of the checkpoint; must be empty or missing
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// The model's tokenizer.json; the built-in token map if not given
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Report as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let options = SynthOptions {
            scheme: self.scheme,
            scale: self.scale,
            seed: self.seed,
            tokenizer: self.tokenizer,
        };
        let bar = progress_bar(0, "making the checkpoint");
        let report = synth(&options, &self.output, &|bytes| bar.inc(bytes))?;
        bar.finish_and_clear();
        if self.json {
            print_json(&report)?;
        } else {
            say!(
                "{}: {} of {} in {} files, tables of {:?} rows, {}",
                self.output.display(),
                size(report.bytes),
                report.scheme,
                report.files,
                report.rows,
                rate(report.bytes, report.seconds),
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}
