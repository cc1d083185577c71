//! Copies the rows of a pack into each storage.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use engram::{Batch, Config, Reader, RowId, Store, LayerId};
use engram_bench::{mixed::DECODED, pack::PackArgs};
use engram_kit::{say, texts::read_trace};

use crate::{
    folder,
    peers::{self, ENGRAMDB_SHARDS},
    profile,
    python::flat_path,
};

/// Rows copied at a time.
const CHUNK: u64 = 100_000;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pack: PackArgs,
    /// Token ids of the texts that will be run, to know in advance
    #[arg(long, value_name = "FILE", required = true)]
    trace: Vec<PathBuf>,
    /// Tokens of each that will be prefilled
    #[arg(long, default_value_t = 40_960)]
    tokens: usize,
}

impl Args {
    pub fn run(self) -> Result<()> {
        let folder = folder::folder(self.pack.folder());
        ensure!(!folder.exists(), "{} is there already", folder.display());
        let texts = self.trace.iter().map(|path| read_trace(path));
        let texts = texts.collect::<Result<Vec<_>>>()?;
        ensure!(
            texts
                .iter()
                .all(|tokens| tokens.len() > self.tokens + DECODED),
            "each text must go on after the {} tokens of a run",
            self.tokens + DECODED
        );
        fs::create_dir_all(&folder)?;
        let store = self.pack.open(Config::new().reader(Reader::Mmap))?;
        for (index, table) in store.manifest().tables.iter().enumerate() {
            let layer = &store.scheme().layers[index];
            let rows: u64 = layer.buckets.iter().sum();
            let copy = |name: &str, take: &mut dyn FnMut(u64, &[u8]) -> Result<()>| {
                say!("layer {} to {name}", table.layer);
                each_row(&store, table.layer, rows, take)
            };
            engramdb(&folder, table.layer, rows, &copy)?;
            flat(&flat_path(self.pack.folder(), table.layer), &copy)?;
            #[cfg(feature = "rocksdb")]
            crate::rocks::prepare(&folder, table.layer, &copy)?;
            lmdb(
                &folder,
                table.layer,
                rows * table.codec.row_bytes() as u64,
                &copy,
            )?;
        }
        profile::prepare(self.pack.folder(), &store, &texts, self.tokens)
    }
}

/// Gives each row to the storage of a name.
pub type Copy<'a> = &'a dyn Fn(&str, &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()>;

fn each_row(
    store: &Store,
    layer: LayerId,
    count: u64,
    take: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let row_bytes = store.codec(layer)?.row_bytes();
    let mut out = Vec::new();
    for first in (0..count).step_by(CHUNK as usize) {
        let rows: Vec<RowId> = (first..count.min(first + CHUNK)).map(RowId).collect();
        out.resize(rows.len() * row_bytes, 0);
        store.lookup(Batch::new(layer, &rows), &mut out)?;
        for (row, bytes) in rows.iter().zip(out.chunks_exact(row_bytes)) {
            take(row.0, bytes)?;
        }
    }
    Ok(())
}

/// Plain rows in as many files as its threads.
fn engramdb(folder: &Path, layer: LayerId, rows: u64, copy: Copy<'_>) -> Result<()> {
    let folder = folder.join(format!("engramdb-{layer}"));
    fs::create_dir(&folder)?;
    let per_shard = rows.div_ceil(ENGRAMDB_SHARDS);
    let mut files = (0..ENGRAMDB_SHARDS)
        .map(|shard| {
            Ok(BufWriter::new(File::create(
                folder.join(format!("shard_{shard:03}.bin")),
            )?))
        })
        .collect::<Result<Vec<_>>>()?;
    copy("EngramDB", &mut |row, bytes| {
        Ok(files[usize::try_from(row / per_shard)?].write_all(bytes)?)
    })?;
    for file in files {
        file.into_inner()?.sync_all()?;
    }
    Ok(())
}

fn flat(path: &Path, copy: Copy<'_>) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    copy("one file", &mut |_, bytes| Ok(file.write_all(bytes)?))?;
    Ok(file.into_inner()?.sync_all()?)
}

fn lmdb(folder: &Path, layer: LayerId, bytes: u64, copy: Copy<'_>) -> Result<()> {
    let path = folder.join(format!("lmdb-{layer}"));
    fs::create_dir(&path)?;
    let env = peers::lmdb_open(
        &path,
        usize::try_from((bytes * 2 + (1 << 30)).next_multiple_of(1 << 20))?,
    )?;
    let mut txn = env.write_txn()?;
    let rows: peers::LmdbRows = env.create_database(&mut txn, None)?;
    copy("LMDB", &mut |row, bytes| {
        Ok(rows.put_with_flags(&mut txn, heed::PutFlags::APPEND, &row, bytes)?)
    })?;
    txn.commit()?;
    env.force_sync()?;
    Ok(())
}
