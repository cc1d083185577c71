//! Our own readers as contenders.

use std::path::Path;

use anyhow::Result;
use engram::{Backend, Batch, Config, LayerId, Reader, Resident, RowId, Store};

use crate::mixed::{Contender, Open};

/// Our readers.
pub const READERS: [(&str, Open); 5] = [
    ("direct + cache", |pack, memory| {
        open(pack, direct().cache_bytes(usize::try_from(memory)?))
    }),
    ("direct + columns + cache", |pack, memory| {
        let resident = Resident::Bytes(memory / 2);
        open(
            pack,
            direct()
                .resident(resident)
                .cache_bytes(usize::try_from(memory / 2)?),
        )
    }),
    ("direct", |pack, _| open(pack, direct())),
    ("mmap", |pack, _| {
        open(pack, Config::new().reader(Reader::Mmap))
    }),
    ("pread", |pack, _| {
        open(pack, Config::new().reader(Reader::Pread))
    }),
];

fn direct() -> Config {
    Config::new().reader(Reader::Direct).cache_bytes(0)
}

struct Ours(Store);

fn open(pack: &Path, config: Config) -> Result<Box<dyn Contender>> {
    Ok(Box::new(Ours(Store::open(pack, config)?)))
}

impl Contender for Ours {
    fn describe(&self) -> String {
        let columns: usize = self
            .0
            .metrics()
            .tables
            .iter()
            .map(|t| t.columns.len())
            .sum();
        let all: usize = self.0.scheme().layers.iter().map(|l| l.buckets.len()).sum();
        match self.0.backend() {
            Backend::Direct { .. } => {
                format!(
                    "{}; {} of {all} columns in memory",
                    self.0.backend(),
                    all - columns
                )
            }
            other => other.to_string(),
        }
    }

    fn gather(&mut self, layer: LayerId, rows: &[RowId], out: &mut [u8]) -> Result<()> {
        Ok(self.0.lookup(Batch::new(layer, rows), out)?)
    }
}
