//! Opens a pack with a profile, so that the cache begins with the rows that such texts ask for most.

use std::{error::Error, path::PathBuf};

use engram::{Config, RowIds, Sequence, Store};

fn main() -> Result<(), Box<dyn Error>> {
    let vectors = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../format-spec/vectors"
    ));
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let pack = paths.next().unwrap_or(vectors.join("deepseek"));
    let profile = paths
        .next()
        .unwrap_or(vectors.join("profiles/deepseek.profile"));
    let store = Store::open(pack, Config::new().profile(profile))?;

    // Lookups need not wait for that: each finds what is there already.
    let seeded = store.wait_seeded().map_err(ToString::to_string)?;
    println!("{seeded} rows seeded");

    let (mut sequence, mut row_ids) = (Sequence::new(), RowIds::new());
    let hasher = store.hasher();
    hasher.extend(&mut sequence, &[0, 3, 15], &mut row_ids)?;
    for batch in row_ids.batches() {
        let mut values = vec![0.0_f32; batch.len() * store.codec(batch.layer())?.width()];
        store.lookup_values(batch, &mut values[..])?;
    }
    for table in store.metrics().tables {
        let cached: u64 = table.columns.iter().map(|column| column.cached).sum();
        println!(
            "layer {}: {cached} of {} rows were in the cache",
            table.layer, table.rows
        );
    }
    Ok(())
}
