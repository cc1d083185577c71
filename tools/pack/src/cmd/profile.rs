use std::{num::NonZeroUsize, path::PathBuf};

use anyhow::{Result, ensure};
use engram::{Hasher, SchemeName, read_hasher};
use engram_checkpoint::builtin_token_map;
use engram_format::MAX_PROFILE_NGRAMS;
use engram_kit::{envelope::Outcome, progress::Progress, texts::Texts};

use crate::profile;

use super::inspect::print_profile;

/// Count the n-grams of texts, so that a store can begin with the rows that they ask for most
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  engram-pack profile pack --tokenizer tokenizer.json --text english.txt -o english.profile
  engram-pack profile --scheme deepseek-v4.1-flash --trace tokens.u32le -o english.profile")]
pub(crate) struct Args {
    /// Folder of a pack, whose scheme is used
    #[arg(required_unless_present = "scheme", conflicts_with = "scheme")]
    pack: Option<PathBuf>,
    /// File of the profile
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// A known model instead of a pack
    #[arg(long, value_name = "NAME")]
    scheme: Option<SchemeName>,
    #[command(flatten)]
    texts: Texts,
    /// N-grams of each order that are kept, the most frequent ones
    #[arg(long, value_name = "N", default_value = "1000000")]
    top: NonZeroUsize,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let top = self.top.get();
        ensure!(
            top <= MAX_PROFILE_NGRAMS,
            "--top is {top}, expected up to {MAX_PROFILE_NGRAMS}"
        );
        let hasher = match (&self.pack, self.scheme) {
            (Some(pack), _) => read_hasher(pack)?,
            (None, Some(name)) => Hasher::new(name.scheme(), builtin_token_map(name))?,
            (None, None) => unreachable!("clap asks for one of them"),
        };
        let progress = Progress::new(self.texts.bytes()?, "counting");
        let summary = profile(&hasher, &self.texts, top, &self.output, &|bytes| {
            progress.add(bytes);
        })?;
        progress.finish();
        print_profile(&summary)?;
        let outcome = Outcome::new(&summary)?;
        Ok(match &self.pack {
            Some(pack) => outcome.of_pack(pack),
            None => outcome,
        })
    }
}
