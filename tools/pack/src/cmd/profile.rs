use std::{num::NonZeroUsize, path::PathBuf, process::ExitCode};

use anyhow::{Result, ensure};
use engram::{Hasher, SchemeName, read_hasher};
use engram_checkpoint::builtin_token_map;
use engram_format::MAX_PROFILE_NGRAMS;
use engram_kit::{
    console::{print_json, progress_bar},
    texts::Texts,
};

use crate::profile;

use super::inspect::print_profile;

/// Count the n-grams of texts, so that a store can begin with the rows that they ask for most
#[derive(clap::Args)]
pub(crate) struct Args {
    /// File of the profile
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Folder of a pack, whose scheme is used
    #[arg(long, required_unless_present = "scheme", conflicts_with = "scheme")]
    pack: Option<PathBuf>,
    /// A known model instead of a pack
    #[arg(long, value_name = "NAME")]
    scheme: Option<SchemeName>,
    #[command(flatten)]
    texts: Texts,
    /// N-grams of each order that are kept, the most frequent ones
    #[arg(long, value_name = "N", default_value = "1000000")]
    top: NonZeroUsize,
    /// Report as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let top = self.top.get();
        ensure!(
            top <= MAX_PROFILE_NGRAMS,
            "--top is {top}, expected up to {MAX_PROFILE_NGRAMS}"
        );
        let hasher = match (self.pack, self.scheme) {
            (Some(pack), _) => read_hasher(pack)?,
            (None, Some(name)) => Hasher::new(name.scheme(), builtin_token_map(name))?,
            (None, None) => unreachable!("clap asks for one of them"),
        };
        let bar = progress_bar(self.texts.bytes()?, "counting");
        let summary = profile(&hasher, &self.texts, top, &self.output, &|bytes| {
            bar.inc(bytes);
        })?;
        bar.finish_and_clear();
        if self.json {
            print_json(&summary)?;
        } else {
            print_profile(&summary)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
