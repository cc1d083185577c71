//! Shares resident columns and the cache between two stores, as two processes would.

use std::{error::Error, path::Path};

use engram::{Config, Resident, RowIds, Sequence, Store};

const DEFAULT_PACK: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../format-spec/vectors/deepseek"
);

fn main() -> Result<(), Box<dyn Error>> {
    let pack = std::env::args().nth(1).unwrap_or(DEFAULT_PACK.into());
    // Best on a memory file system; the files stay until they are removed.
    let folder = tempfile::tempdir()?;

    let first = open(&pack, folder.path())?;
    look_up(&first, "first")?;
    let second = open(&pack, folder.path())?;
    look_up(&second, "second")?;
    Ok(())
}

/// Columns of 2-grams resident, rows of the others in a cache of 16 MiB, both in `folder`.
fn open(pack: &str, folder: &Path) -> Result<Store, Box<dyn Error>> {
    let config = Config::new()
        .resident(Resident::Orders(2))
        .resident_folder(folder)
        .cache_bytes(16 << 20)
        .cache_folder(folder);
    Ok(Store::open(pack, config)?)
}

fn look_up(store: &Store, name: &str) -> Result<(), Box<dyn Error>> {
    let mut row_ids = RowIds::new();
    let hasher = store.hasher();
    hasher.extend(&mut Sequence::new(), &[0, 3, 15], &mut row_ids)?;
    for batch in row_ids.batches() {
        let mut bytes = vec![0; batch.len() * store.codec(batch.layer())?.row_bytes()];
        store.lookup(batch, &mut bytes)?;
    }
    for table in store.metrics().tables {
        let cached: u64 = table.columns.iter().map(|column| column.cached).sum();
        println!(
            "{name} store, layer {}: {} rows, {cached} of them in the cache, {} reads",
            table.layer, table.rows, table.reads
        );
    }
    Ok(())
}
