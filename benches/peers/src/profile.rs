//! What is known of texts before a run, for those who prepare for it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, ensure};
use engram::{Batch, Config, Hasher, Reader, RowId, RowIds, Sequence, Store};
use engram_bench::mixed::{self, Contender, DECODED};
use engram_format::{MAX_PROFILE_NGRAMS, ProfileCounter};

use crate::{peers::folder, view};

/// Tokens of each text, after those of the run, that a profile is taken of.
const OTHER_TOKENS: usize = 300_000;

/// What is known of a run.
#[derive(Debug, Clone, Copy)]
pub enum Known {
    /// Its very tokens.
    All,
    /// A longer part of the same texts that follows.
    Other,
}

impl Known {
    pub const BOTH: [Self; 2] = [Self::All, Self::Other];

    pub fn name(self) -> &'static str {
        match self {
            Self::All => "known",
            Self::Other => "other",
        }
    }

    /// The sequences of tokens that are known.
    fn sequences(self, tokens: &[u32], prefill: usize) -> Result<Vec<&[u32]>> {
        Ok(match self {
            Self::All => mixed::sequences(tokens, prefill).collect(),
            Self::Other => vec![other(tokens, prefill)?],
        })
    }

    /// Calls `each` with the rows of the tokens that are known.
    fn replay(
        self,
        hasher: &Hasher,
        tokens: &[u32],
        prefill: usize,
        mut each: impl FnMut(&RowIds) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::All => mixed::replay(hasher, tokens, prefill, |_, rows| each(rows)),
            Self::Other => {
                let (mut sequence, mut rows) = (Sequence::new(), RowIds::new());
                for chunk in other(tokens, prefill)?.chunks(512) {
                    hasher.extend(&mut sequence, chunk, &mut rows)?;
                    each(&rows)?;
                }
                Ok(())
            }
        }
    }
}

/// The tokens after those of the run.
fn other(tokens: &[u32], prefill: usize) -> Result<&[u32]> {
    let other = &tokens[tokens.len().min(prefill + DECODED)..];
    ensure!(!other.is_empty(), "a text ends with the run's tokens");
    Ok(&other[..other.len().min(OTHER_TOKENS)])
}

fn profile_path(pack: &Path, known: Known) -> PathBuf {
    folder(pack).join(format!("{}.profile", known.name()))
}

/// Writes the view and the profile of what is known of `texts`, of each of which `prefill` tokens are
/// prefilled in the run.
pub fn prepare(pack: &Path, store: &Store, texts: &[Vec<u32>], prefill: usize) -> Result<()> {
    for known in Known::BOTH {
        let mut counter = ProfileCounter::new(store.hasher());
        for tokens in texts {
            for sequence in known.sequences(tokens, prefill)? {
                counter.count(&mut Sequence::new(), sequence)?;
            }
        }
        let profile = counter.finish(MAX_PROFILE_NGRAMS).context("no texts")?;
        fs::write(profile_path(pack, known), profile.to_bytes())?;
        for (index, table) in store.manifest().tables.iter().enumerate() {
            let mut view = view::Writer::create(pack, known, table.layer, store)?;
            for tokens in texts {
                known.replay(store.hasher(), tokens, prefill, |rows| {
                    view.add(store, rows.layer(index))
                })?;
            }
            view.finish()?;
        }
    }
    Ok(())
}

/// Our store, its cache seeded by the profile.
pub struct Warmed(Store);

impl Warmed {
    pub fn open(pack: &Path, memory: u64, known: Known) -> Result<Self> {
        let config = Config::new().reader(Reader::Direct);
        let config = config.cache_bytes(usize::try_from(memory)?);
        let store = Store::open(pack, config.profile(profile_path(pack, known)))?;
        let seeded = store.seeded();
        seeded.map_err(|error| anyhow!("cannot seed the cache: {error}"))?;
        Ok(Self(store))
    }
}

impl Contender for Warmed {
    fn describe(&self) -> String {
        let tables = self.0.metrics().tables;
        let columns = tables.iter().flat_map(|table| &table.columns);
        let cached: u64 = columns.map(|column| column.cached).sum();
        let rows: u64 = tables.iter().map(|table| table.rows).sum();
        format!(
            "{}; {cached} of {rows} rows from the cache",
            self.0.backend()
        )
    }

    fn gather(&mut self, layer: u32, rows: &[RowId], out: &mut [u8]) -> Result<()> {
        Ok(self.0.lookup(Batch { layer, rows }, out)?)
    }
}
