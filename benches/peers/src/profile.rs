//! A profile of texts that are known before a run, and our store seeded by it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use engram::{Batch, Config, Reader, RowId, Sequence, Store, LayerId};
use engram_bench::{mixed::Contender, pack::PackArgs};
use engram_format::{MAX_PROFILE_NGRAMS, ProfileCounter};

use crate::{folder::folder, known::Known, view};

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
    pub fn open(pack: &PackArgs, memory: u64, known: Known) -> Result<Self> {
        let config = Config::new().reader(Reader::Direct);
        let config = config.cache_bytes(usize::try_from(memory)?);
        let store = pack.open(config.profile(profile_path(pack.folder(), known)))?;
        let seeded = store.wait_seeded();
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

    fn gather(&mut self, layer: LayerId, rows: &[RowId], out: &mut [u8]) -> Result<()> {
        Ok(self.0.lookup(Batch::new(layer, rows), out)?)
    }
}
