//! What is known of texts before a run, for those who prepare for it.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use engram::{Batch, Config, Hasher, Reader, RowId, RowIds, Sequence, Store, read_manifest};
use engram_bench::mixed::{self, Contender, DECODED};

use crate::{peers::folder, view};

/// Tokens of each text, after those of the run, that a profile is taken of.
const OTHER_TOKENS: usize = 300_000;
/// Bytes that a row takes in the cache, its seal and its tag.
const CACHED_BYTES: u64 = 280;

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
                let other = &tokens[tokens.len().min(prefill + DECODED)..];
                ensure!(!other.is_empty(), "a text ends with the run's tokens");
                for chunk in other[..other.len().min(OTHER_TOKENS)].chunks(512) {
                    hasher.extend(&mut sequence, chunk, &mut rows)?;
                    each(&rows)?;
                }
                Ok(())
            }
        }
    }
}

fn profile_path(pack: &Path, known: Known, layer: u32) -> PathBuf {
    folder(pack).join(format!("profile-{}-{layer}.u64le", known.name()))
}

/// Writes the view and the profile of what is known of `texts`, of each of which `prefill` tokens are
/// prefilled in the run.
pub fn prepare(pack: &Path, store: &Store, texts: &[Vec<u32>], prefill: usize) -> Result<()> {
    for known in Known::BOTH {
        for (index, table) in store.manifest().tables.iter().enumerate() {
            let mut view = view::Writer::create(pack, known, table.layer, store)?;
            let mut counts: HashMap<RowId, u32> = HashMap::new();
            for tokens in texts {
                known.replay(store.hasher(), tokens, prefill, |rows| {
                    for &row in rows.layer(index) {
                        *counts.entry(row).or_default() += 1;
                    }
                    view.add(store, rows.layer(index))
                })?;
            }
            view.finish()?;
            let mut rows: Vec<(u32, RowId)> = counts
                .into_iter()
                .map(|(row, count)| (count, row))
                .collect();
            rows.sort_unstable();
            let bytes: Vec<u8> = rows
                .iter()
                .flat_map(|(_, row)| row.0.to_le_bytes())
                .collect();
            fs::write(profile_path(pack, known, table.layer), bytes)?;
        }
    }
    Ok(())
}

/// Our store, its cache warmed with as many of the most wanted rows as fit.
pub struct Warmed(Store);

impl Warmed {
    pub fn open(pack: &Path, memory: u64, known: Known) -> Result<Self> {
        let config = Config::new().reader(Reader::Direct);
        let store = Store::open(pack, config.cache_bytes(usize::try_from(memory)?))?;
        let manifest = read_manifest(pack)?;
        let fit = usize::try_from(memory / manifest.tables.len() as u64 / CACHED_BYTES)?;
        for table in &manifest.tables {
            let bytes = fs::read(profile_path(pack, known, table.layer))?;
            let (words, _) = bytes.as_chunks();
            let rows: Vec<RowId> = words[words.len().saturating_sub(fit)..]
                .iter()
                .map(|&word| RowId(u64::from_le_bytes(word)))
                .collect();
            let layer = table.layer;
            store.warm(Batch { layer, rows: &rows })?;
        }
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
