//! EngramDB's materialised view: the rows of each context that was known when it was made, in one record.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::Result;
use engram::{Batch, RowId, Store, read_manifest, LayerId};
use engram_bench::{cold::evict, mixed::Contender};
use engram_kit::say;
use engramdb_io::{batch::DEFAULT_GATHER_THREADS, view::ViewReader};
use xxhash_rust::xxh3::xxh3_64;

use crate::{folder::folder, known::Known, peers::EngramDb};

/// What stands for a context: its rows.
fn key(rows: &[RowId]) -> u64 {
    let bytes: Vec<u8> = rows.iter().flat_map(|row| row.0.to_le_bytes()).collect();
    xxh3_64(&bytes)
}

fn view_path(pack: &Path, known: Known, layer: LayerId) -> PathBuf {
    folder(pack).join(format!("view-{}-{layer}.bin", known.name()))
}

/// A view that is being made.
pub struct Writer {
    layer: LayerId,
    path: PathBuf,
    columns: usize,
    slot_bytes: usize,
    records: BufWriter<File>,
    keys: HashMap<u64, u32>,
    fresh: Vec<RowId>,
    out: Vec<u8>,
}

impl Writer {
    pub fn create(pack: &Path, known: Known, layer: LayerId, store: &Store) -> Result<Self> {
        let path = view_path(pack, known, layer);
        let columns = store.scheme().column_count();
        Ok(Self {
            layer,
            columns,
            slot_bytes: columns * store.codec(layer)?.row_bytes(),
            records: BufWriter::with_capacity(1 << 20, File::create(&path)?),
            path,
            keys: HashMap::new(),
            fresh: Vec::new(),
            out: Vec::new(),
        })
    }

    /// Adds the contexts of `rows`, `[token][column]`, that are not there yet.
    pub fn add(&mut self, store: &Store, rows: &[RowId]) -> Result<()> {
        self.fresh.clear();
        for context in rows.chunks_exact(self.columns) {
            let next = u32::try_from(self.keys.len())?;
            self.keys.entry(key(context)).or_insert_with(|| {
                self.fresh.extend_from_slice(context);
                next
            });
        }
        self.out
            .resize(self.fresh.len() / self.columns * self.slot_bytes, 0);
        let layer = self.layer;
        let rows = &self.fresh;
        store.lookup(Batch::new(layer, rows), &mut self.out)?;
        Ok(self.records.write_all(&self.out)?)
    }

    /// Writes what its reader wants to know, and the keys, which are the caller's business there.
    pub fn finish(self) -> Result<()> {
        self.records.into_inner()?.sync_all()?;
        let count = self.keys.len();
        let manifest = format!("{{\"grans\":{count},\"slot_bytes\":{}}}\n", self.slot_bytes);
        fs::write(self.path.with_extension("manifest.json"), manifest)?;
        let mut keys: Vec<_> = self.keys.into_iter().collect();
        keys.sort_unstable();
        let words = keys.iter().map(|&(key, at)| [key, u64::from(at)]);
        let bytes: Vec<u8> = words.flatten().flat_map(u64::to_le_bytes).collect();
        fs::write(self.path.with_extension("keys"), bytes)?;
        say!("  {count} contexts in {}", self.path.display());
        Ok(())
    }
}

/// A view, and plain rows for what it does not hold.
pub struct View {
    columns: usize,
    known: usize,
    asked: usize,
    tables: HashMap<LayerId, (ViewReader, Vec<(u64, u32)>)>,
    rows: EngramDb,
    /// Places in the view, tokens there, and rows and tokens that are not.
    places: Vec<usize>,
    tokens: [Vec<usize>; 2],
    missing: Vec<RowId>,
    out: [Vec<u8>; 2],
}

impl View {
    pub fn open(pack: &Path, known: Known) -> Result<Self> {
        let manifest = read_manifest(pack)?;
        let tables = manifest.tables.iter().map(|table| {
            let path = view_path(pack, known, table.layer);
            evict(std::slice::from_ref(&path))?;
            let bytes = fs::read(path.with_extension("keys"))?;
            let (words, _) = bytes.as_chunks();
            let words: Vec<u64> = words.iter().map(|&word| u64::from_le_bytes(word)).collect();
            let keys = words.as_chunks().0.iter();
            let keys = keys.map(|&[key, at]| Ok((key, u32::try_from(at)?)));
            Ok((
                table.layer,
                (ViewReader::open(&path)?, keys.collect::<Result<_>>()?),
            ))
        });
        Ok(Self {
            columns: manifest.scheme.column_count(),
            known: 0,
            asked: 0,
            tables: tables.collect::<Result<_>>()?,
            rows: EngramDb::open(pack)?,
            places: Vec::new(),
            tokens: Default::default(),
            missing: Vec::new(),
            out: Default::default(),
        })
    }
}

impl Contender for View {
    fn describe(&self) -> String {
        format!("{} of {} contexts in the view", self.known, self.asked)
    }

    fn gather(&mut self, layer: LayerId, rows: &[RowId], out: &mut [u8]) -> Result<()> {
        let (view, keys) = &self.tables[&layer];
        self.places.clear();
        self.missing.clear();
        self.tokens.iter_mut().for_each(Vec::clear);
        for (token, context) in rows.chunks(self.columns).enumerate() {
            let key = key(context);
            if let Ok(at) = keys.binary_search_by_key(&key, |&(key, _)| key) {
                self.places.push(keys[at].1 as usize);
                self.tokens[0].push(token);
            } else {
                self.missing.extend_from_slice(context);
                self.tokens[1].push(token);
            }
        }
        self.known += self.places.len();
        self.asked += rows.len().div_ceil(self.columns);
        let row_bytes = out.len() / rows.len();
        let [found, others] = &mut self.out;
        found.resize(self.places.len() * self.columns * row_bytes, 0);
        others.resize(self.missing.len() * row_bytes, 0);
        let (places, missing, plain) = (&self.places, &self.missing, &mut self.rows);
        let mut read = || view.read_records_parallel(places, found, DEFAULT_GATHER_THREADS);
        if missing.is_empty() {
            read()?;
        } else if places.is_empty() {
            plain.gather(layer, missing, others)?;
        } else {
            // At the same time, though its interface has a call for each.
            std::thread::scope(|scope| {
                let viewed = scope.spawn(read);
                plain.gather(layer, missing, others)?;
                Ok::<_, anyhow::Error>(viewed.join().expect("no panic")?)
            })?;
        }
        for (tokens, bytes) in self.tokens.iter().zip(&self.out) {
            let records = bytes.chunks(self.columns * row_bytes);
            for (token, record) in tokens.iter().zip(records) {
                let start = token * self.columns * row_bytes;
                out[start..start + record.len()].copy_from_slice(record);
            }
        }
        Ok(())
    }
}
