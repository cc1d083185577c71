use std::path::PathBuf;

use anyhow::Result;
use engram_checkpoint::{Family, builtin_token_map};
use engram_kit::{
    console::{rate, size},
    envelope::Outcome,
    progress::Progress,
    say,
};

use crate::{SynthContents, synth_family};

/// Make a checkpoint in a model's own layout, smaller and with made-up contents
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  engram-pack synth --scheme deepseek-v4.1-flash --scale 1000 -o checkpoint
  engram-pack synth --scheme mine.json --scale 1 -o checkpoint, where mine.json is
    {\"over_encoding\": {
      \"scheme\": {\"name\": \"mine\", \"vocab_size\": 50257, \"max_order\": 3, \"heads\": 2, \"layers\": [
        {\"layer\": 0, \"sizes\": {\"primes_from\": 100000},
         \"hash\": {\"rule\": \"polynomial\", \"bases\": [50257]}}]},
      \"rows\": {\"width\": 64, \"values\": \"model.layers.{layer}.oe.weight\"}}}
  sizes may also be {\"odd_above\": N} or {\"each\": [...]}, one for each column; bases one, or one for each head or
  column, with \"mix\": \"xor\" in the place of a sum; further rules are
  {\"rule\": \"xor_multiply\", \"multipliers\": [...]} and
  {\"rule\": \"per_column\", \"mix\": \"sum\" or \"xor\", \"factors\": [[...], ...]}")]
pub(crate) struct Args {
    /// engram-demo-v1, deepseek-v4.1-flash, qwen3.8-flash-next, longcat-flash-lite, longcat-lite-4096, longcat-2.0,
    /// gemma-3n or gemma-4; or the path of a model's configuration
    #[arg(long, value_name = "NAME|FILE")]
    scheme: String,
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
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let family = Family::of_scheme(&self.scheme)?;
        let builtin = self.scheme.parse().ok().and_then(builtin_token_map);
        let contents = SynthContents {
            scale: self.scale,
            seed: self.seed,
            tokenizer: self.tokenizer,
        };
        let progress = Progress::new(0, "making the checkpoint");
        let report = synth_family(
            &family,
            builtin.as_ref(),
            &contents,
            &self.output,
            &|bytes| {
                progress.add(bytes);
            },
        )?;
        progress.finish();
        say!(
            "{}: {} of {} in {} files, tables of {:?} rows, {}",
            self.output.display(),
            size(report.bytes),
            report.scheme,
            report.files,
            report.rows,
            rate(report.bytes, report.seconds),
        );
        Outcome::new(&report)
    }
}
