//! RocksDB.

use std::{collections::HashMap, fs, path::Path};

use anyhow::{Context, Result};
use engram::{LayerId, RowId};
use engram_bench::{mixed::Contender, pack::PackArgs};
use engram_kit::say;

use crate::{folder::folder, prepare::Copy};

/// Direct reads, nothing compressed, blocks of a page, a cache of `memory` bytes.
fn options(memory: usize) -> rocksdb::Options {
    let mut table = rocksdb::BlockBasedOptions::default();
    table.set_block_size(4096);
    table.set_block_cache(&rocksdb::Cache::new_lru_cache(memory));
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(false);
    table.set_format_version(5);
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(rocksdb::DBCompressionType::None);
    options.set_use_direct_reads(true);
    options.set_max_open_files(-1);
    options
}

struct Rocks(HashMap<LayerId, rocksdb::DB>);

pub fn open(pack: &PackArgs, memory: u64) -> Result<Box<dyn Contender>> {
    let manifest = pack.manifest()?;
    let share = usize::try_from(memory)? / manifest.tables.len();
    let tables = manifest.tables.iter().map(|table| {
        let path = folder(pack.folder()).join(format!("rocksdb-{}", table.layer));
        let db =
            rocksdb::DB::open_cf_for_read_only(&options(share), path, ["default"], false)?;
        Ok((table.layer, db))
    });
    Ok(Box::new(Rocks(tables.collect::<Result<_>>()?)))
}

impl Contender for Rocks {
    fn gather(&mut self, layer: LayerId, rows: &[RowId], out: &mut [u8]) -> Result<()> {
        let db = &self.0[&layer];
        let cf = db
            .cf_handle("default")
            .context("the default column family")?;
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_unstable_by_key(|&index| rows[index]);
        let keys: Vec<[u8; 8]> = order
            .iter()
            .map(|&index| rows[index].0.to_be_bytes())
            .collect();
        let mut options = rocksdb::ReadOptions::default();
        options.set_async_io(true);
        options.set_verify_checksums(true);
        let found = db.batched_multi_get_cf_opt(cf, &keys, true, &options);
        let row_bytes = out.len() / rows.len();
        for (index, value) in order.into_iter().zip(found) {
            let value = value?.context("a missing row")?;
            out[index * row_bytes..(index + 1) * row_bytes].copy_from_slice(&value);
        }
        Ok(())
    }
}

/// A table of sorted rows.
pub fn prepare(folder: &Path, layer: LayerId, copy: Copy<'_>) -> Result<()> {
    let path = folder.join(format!("rocksdb-{layer}"));
    let options = options(64 << 20);
    let db = rocksdb::DB::open(&options, &path)?;
    let sst = folder.join("bulk.sst");
    let mut writer = rocksdb::SstFileWriter::create(&options);
    writer.open(&sst)?;
    let mut written = 0;
    copy("RocksDB", &mut |row, bytes| {
        writer.put(row.to_be_bytes(), bytes)?;
        written += 1;
        Ok(())
    })?;
    writer.finish()?;
    let mut ingest = rocksdb::IngestExternalFileOptions::default();
    ingest.set_move_files(true);
    db.ingest_external_file_opts(&ingest, vec![&sst])?;
    db.flush()?;
    say!("  {written} rows");
    let _ = fs::remove_file(sst);
    Ok(())
}
