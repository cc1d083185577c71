//! Rows of a checkpoint, read by the simplest means, and comparisons of packs with them.

use std::{fs::File, os::unix::fs::FileExt, path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};
use engram::{Batch, Config, LayerId, Reader, Resident, RowId, Storage, Store, read_manifest};
use engram_checkpoint::{Checkpoint, TensorFiles};
use serde::{Deserialize, Serialize};

use crate::outcome::WRONG;

/// Ways to read rows, as the columns of the matrix are called.
pub(crate) const READERS: [&str; 6] = ["direct", "threads", "mmap", "pread", "memory", "shared"];

const ROWS: u64 = 60;
const CACHE_BYTES: usize = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Expected {
    layer: u32,
    rows: Vec<u64>,
    bytes: Vec<u8>,
}

/// Writes some rows of the DeepSeek checkpoint in `folder` to the file `out`.
pub(crate) fn expect(folder: &Path, out: &Path) {
    let checkpoint = Checkpoint::open(folder, None).unwrap();
    let files = TensorFiles::open(folder).unwrap();
    let tables = checkpoint.scheme.layers.iter().map(|layer| {
        let rows: Vec<u64> = (0..ROWS)
            .map(|at| at * (layer.row_count - 1) / (ROWS - 1))
            .collect();
        let mut bytes = Vec::new();
        for row in &rows {
            for part in ["weight", "scale"] {
                let tensor = files
                    .get(&format!("layers.{}.engram.embed.{part}", layer.id))
                    .unwrap();
                let row_bytes = tensor.bytes / tensor.shape[0];
                let mut part = vec![0; usize::try_from(row_bytes).unwrap()];
                let file = File::open(files.path(tensor.source)).unwrap();
                file.read_exact_at(&mut part, tensor.offset + row * row_bytes)
                    .unwrap();
                bytes.extend(part);
            }
        }
        Expected {
            layer: layer.id.0,
            rows,
            bytes,
        }
    });
    let tables: Vec<Expected> = tables.collect();
    serde_json::to_writer(File::create(out).unwrap(), &tables).unwrap();
}

/// Compares the rows of packs: `READER EXPECTED CACHE SHARED CHECKPOINT PACK...`, where CACHE is `default` or `small`.
pub(crate) fn run(args: &[&str]) -> ExitCode {
    let [reader, expected, cache, shared, checkpoint, packs @ ..] = args else {
        panic!("{args:?}");
    };
    let same = packs.iter().try_fold(true, |same, pack| {
        let config = config(pack, reader, cache, shared)?.checkpoint(checkpoint);
        Ok::<_, anyhow::Error>(same & is_same(Path::new(pack), config, expected)?)
    });
    match same {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => WRONG.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn config(pack: &str, reader: &str, cache: &str, shared: &str) -> Result<Config> {
    let mut config = Config::new();
    if cache == "small" {
        config = config.cache_bytes(CACHE_BYTES);
    }
    Ok(match reader {
        "direct" => config.reader(Reader::Direct),
        "threads" => config.reader(Reader::DirectThreads),
        "mmap" => config.reader(Reader::Mmap),
        "pread" => config.reader(Reader::Pread),
        "memory" => config.reader(Reader::Memory),
        // Only packed packs have columns to be resident.
        "shared" if read_manifest(pack)?.storage == Storage::Packed => {
            let resident = config.resident(Resident::Orders(2)).resident_folder(shared);
            resident.cache_folder(shared)
        }
        "shared" => config.cache_folder(shared),
        other => bail!("{other} is no reader"),
    })
}

fn is_same(pack: &Path, config: Config, expected: &str) -> Result<bool> {
    let expected = File::open(expected).context("the file of expected rows")?;
    let expected: Vec<Expected> = serde_json::from_reader(expected)?;
    let store = Store::open(pack, config)?;
    let mut same = true;
    // The second time some come from the cache.
    for table in expected.iter().chain(&expected) {
        let rows: Vec<RowId> = table.rows.iter().copied().map(RowId).collect();
        let mut bytes = vec![0xA5; table.bytes.len()];
        store.lookup(Batch::new(LayerId(table.layer), &rows), &mut bytes)?;
        same &= bytes == table.bytes;
    }
    Ok(same)
}
