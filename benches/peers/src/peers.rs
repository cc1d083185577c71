//! Storages that users have today.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

use anyhow::{Context, Result};
use engram::{Manifest, RowId, read_manifest, LayerId};
use engram_bench::mixed::Contender;
use engram_format::{Column, RecordLayout, shard_path};
use engramdb_core::layout::Layout;
use engramdb_io::batch::{BadgeGather, DEFAULT_GATHER_THREADS};
use heed::{
    byteorder::BigEndian,
    types::{Bytes, U64},
};
use memmap2::{Advice, Mmap};
use rayon::prelude::*;

use crate::folder::{evict_folder, folder};

/// Files of each EngramDB table: one for each of its threads, which is its best case.
pub const ENGRAMDB_SHARDS: u64 = DEFAULT_GATHER_THREADS as u64;
/// Threads of the pool of plain reads.
const POOL: usize = 32;

/// Its raw rows, asked for as it recommends.
pub struct EngramDb(HashMap<LayerId, BadgeGather<'static>>);

impl EngramDb {
    pub fn open(pack: &Path) -> Result<Self> {
        let manifest = read_manifest(pack)?;
        let tables = manifest.tables.iter().zip(&manifest.scheme.layers);
        let tables = tables.map(|(table, layer)| {
            let rows: u64 = layer.buckets.iter().sum();
            let row_bytes = table.codec.row_bytes() as u64;
            let layout = Layout::new(
                ENGRAMDB_SHARDS,
                rows.div_ceil(ENGRAMDB_SHARDS),
                row_bytes,
                1,
            );
            let folder = folder(pack).join(format!("engramdb-{}", table.layer));
            evict_folder(&folder)?;
            // It borrows its layout for as long as the process runs.
            let gather = BadgeGather::open(&folder, Box::leak(Box::new(layout)))?;
            Ok((table.layer, gather))
        });
        Ok(EngramDb(tables.collect::<Result<_>>()?))
    }
}

impl Contender for EngramDb {
    fn gather(&mut self, layer: LayerId, rows: &[RowId], out: &mut [u8]) -> Result<()> {
        let keys: Vec<u64> = rows.iter().map(|row| row.0).collect();
        Ok(self.0[&layer].gather_pp(&keys, out, DEFAULT_GATHER_THREADS)?)
    }
}

pub type LmdbRows = heed::Database<U64<BigEndian>, Bytes>;

/// An environment at `path` without read-ahead.
pub fn lmdb_open(path: &Path, map_size: usize) -> Result<heed::Env> {
    // SAFETY: nobody else changes the files while this process runs.
    unsafe {
        let mut options = heed::EnvOpenOptions::new();
        options
            .map_size(map_size)
            .flags(heed::EnvFlags::NO_READ_AHEAD);
        Ok(options.open(path)?)
    }
}

struct Lmdb(HashMap<LayerId, (heed::Env, LmdbRows)>);

pub fn lmdb(pack: &Path) -> Result<Box<dyn Contender>> {
    let manifest = read_manifest(pack)?;
    let tables = manifest.tables.iter().map(|table| {
        let path = folder(pack).join(format!("lmdb-{}", table.layer));
        evict_folder(&path)?;
        let bytes = fs::metadata(path.join("data.mdb"))?.len();
        let env = lmdb_open(&path, usize::try_from(bytes.next_multiple_of(1 << 20))?)?;
        let txn = env.read_txn()?;
        let rows = env.open_database(&txn, None)?.context("the rows")?;
        txn.commit()?;
        Ok((table.layer, (env, rows)))
    });
    Ok(Box::new(Lmdb(tables.collect::<Result<_>>()?)))
}

impl Contender for Lmdb {
    fn gather(&mut self, layer: LayerId, rows: &[RowId], out: &mut [u8]) -> Result<()> {
        let (env, table) = &self.0[&layer];
        let txn = env.read_txn()?;
        for (row, out) in rows
            .iter()
            .zip(out.chunks_exact_mut(out.len() / rows.len()))
        {
            out.copy_from_slice(table.get(&txn, &row.0)?.context("a missing row")?);
        }
        Ok(())
    }
}

/// Where the rows of each table lie in our own shards.
struct Places<T> {
    tables: HashMap<LayerId, (RecordLayout, Vec<(Column, T)>)>,
}

impl<T> Places<T> {
    fn open(pack: &Path, open: impl Fn(&Path) -> Result<T>) -> Result<Self> {
        let manifest: Manifest = read_manifest(pack)?;
        let tables = manifest.tables.iter().enumerate().map(|(index, table)| {
            let columns = manifest.scheme.columns(index);
            let columns = columns
                .map(|column| Ok((column, open(&pack.join(shard_path(table.layer, &column)))?)));
            Ok((
                table.layer,
                (table.layout(), columns.collect::<Result<_>>()?),
            ))
        });
        Ok(Self {
            tables: tables.collect::<Result<_>>()?,
        })
    }

    fn find(&self, layer: LayerId, row: RowId) -> (&T, u64) {
        let (layout, columns) = &self.tables[&layer];
        let next = columns.partition_point(|(column, _)| column.first_row <= row.0);
        let (column, file) = &columns[next - 1];
        (file, layout.record_offset(row.0 - column.first_row))
    }
}

/// What engines do first: map the table, and copy.
pub struct Plain(Places<Mmap>);

impl Plain {
    pub fn open(pack: &Path) -> Result<Self> {
        Ok(Self(Places::open(pack, |path| {
            // SAFETY: nobody changes the pack while this process runs.
            let map = unsafe { Mmap::map(&File::open(path)?)? };
            map.advise(Advice::Random)?;
            Ok(map)
        })?))
    }
}

impl Contender for Plain {
    fn gather(&mut self, layer: LayerId, rows: &[RowId], out: &mut [u8]) -> Result<()> {
        for (row, out) in rows
            .iter()
            .zip(out.chunks_exact_mut(out.len() / rows.len()))
        {
            let (map, offset) = self.0.find(layer, *row);
            let start = usize::try_from(offset)?;
            out.copy_from_slice(&map[start..start + out.len()]);
        }
        Ok(())
    }
}

/// What engines do next: many threads, a read each.
pub struct Pool {
    places: Places<File>,
    threads: rayon::ThreadPool,
}

impl Pool {
    pub fn open(pack: &Path) -> Result<Self> {
        Ok(Self {
            places: Places::open(pack, |path| {
                let file = File::open(path)?;
                rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random)?;
                Ok(file)
            })?,
            threads: rayon::ThreadPoolBuilder::new().num_threads(POOL).build()?,
        })
    }
}

impl Contender for Pool {
    fn gather(&mut self, layer: LayerId, rows: &[RowId], out: &mut [u8]) -> Result<()> {
        let row_bytes = out.len() / rows.len();
        let places = &self.places;
        self.threads.install(|| {
            let pairs = rows.par_iter().zip(out.par_chunks_exact_mut(row_bytes));
            pairs.with_min_len(4).try_for_each(|(row, out)| {
                let (file, offset) = places.find(layer, *row);
                Ok(file.read_exact_at(out, offset)?)
            })
        })
    }
}
