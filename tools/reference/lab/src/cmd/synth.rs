use std::path::PathBuf;

use anyhow::Result;
use engram_kit::{envelope::Outcome, say};

use crate::synth::{Sizes, synth};

/// Make a checkpoint of a decoder with Engram layers, with made-up weights
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model's tokenizer.json
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    /// Folder for it, empty or missing
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// How many times smaller tables are than those of DeepSeek-V4.1-Flash
    #[arg(long, default_value_t = 1_000)]
    scale: u64,
    /// Decoder layers
    #[arg(long, default_value_t = 12)]
    layers: usize,
    /// Width of the residual stream, a multiple of 32
    #[arg(long, default_value_t = 512)]
    hidden: u64,
    /// Routed experts of a layer
    #[arg(long, default_value_t = 16)]
    experts: usize,
    /// The same again
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let sizes = Sizes {
            scale: self.scale,
            layers: self.layers,
            hidden: self.hidden,
            experts: self.experts,
        };
        let report = synth(&self.tokenizer, &sizes, self.seed, &self.output)?;
        say!(
            "{}: {} parameters in the decoder, {:?} rows of 256 in its tables",
            self.output.display(),
            report.parameters,
            report.rows
        );
        Ok(Outcome::default())
    }
}
