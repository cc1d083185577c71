//! Files that are read past the page cache, and the threads that read them.

use std::{path::Path, sync::Arc, thread};

use engram_format::{Column, Digest, Manifest, Storage, Table, shard_path};
use engram_io::{DirectFile, IoError, SharedWords, create_folder};

use crate::{
    cache::{RowCache, TableCache},
    config::{Config, Reader},
    error::OpenError,
    fetch::{DiskRows, DiskSource, WorkerKind, Workers},
    metrics::Counters,
    rows::Rows,
};

/// Most bytes of one read: neighbouring rows come together up to this.
const SLOT_BYTES: usize = 16 << 10;
/// Threads that wait for one read each, where the configuration does not say: enough for a drive of
/// which each read takes 100 microseconds and which does hundreds of thousands a second.
const BLOCKING_THREADS: usize = 32;
/// Bytes that all slots of a ring may have.
const RING_BYTES: usize = 256 << 20;

/// The rows on disk of each table of the pack whose files lie in `folder`, beside those that are `near`.
pub(super) fn open(
    folder: &Path,
    manifest: &Manifest,
    near: &[Rows],
    config: &Config,
) -> Result<(Vec<Arc<DiskRows>>, Workers), OpenError> {
    let mut files = Vec::new();
    let mut sources = Vec::new();
    match manifest.storage {
        Storage::Packed => {
            for (index, table) in manifest.tables.iter().enumerate() {
                let columns: Vec<Column> = manifest.scheme.columns(index).collect();
                let first_file = u32::try_from(files.len()).expect("a million columns at most");
                for column in &columns {
                    files.push(DirectFile::open(
                        &folder.join(shard_path(table.layer, column)),
                    )?);
                }
                sources.push(DiskSource::Sealed {
                    layout: table.layout(),
                    columns,
                    first_file,
                });
            }
        }
        Storage::Attached { .. } => {
            for source in &manifest.sources {
                files.push(DirectFile::open(&folder.join(&source.name))?);
            }
            sources.extend(manifest.tables.iter().map(|table| DiskSource::Attached {
                planes: table.planes.clone(),
            }));
        }
    }
    let files: Arc<[DirectFile]> = files.into();
    let tables = manifest.tables.iter().enumerate().zip(near).zip(sources);
    let rows = tables.map(|(((index, table), near), source)| {
        let columns: Vec<Column> = manifest.scheme.columns(index).collect();
        Ok(Arc::new(DiskRows {
            layer: table.layer,
            check_seals: config.check_seals,
            source,
            files: files.clone(),
            cache: open_cache(manifest, table, &columns, near, config)?,
            counters: Counters::new(columns.len()),
        }))
    });
    let rows: Vec<_> = rows.collect::<Result<_, OpenError>>()?;
    let workers = start(&rows, &files, config)?;
    populate_caches(&rows);
    Ok((rows, workers))
}

/// Lets a thread take the memory of the caches, as long as the pack is open. A huge page that a row is the first to
/// touch costs a hundred times what the row does, and the first rows of a batch would each touch another.
fn populate_caches(rows: &[Arc<DiskRows>]) {
    let rows: Vec<Arc<DiskRows>> = rows
        .iter()
        .filter(|rows| rows.cache.is_some())
        .cloned()
        .collect();
    if rows.is_empty() {
        return;
    }
    let run = move || {
        for rows in rows {
            if let Some(cache) = &rows.cache {
                cache.rows.populate(|| Arc::strong_count(&rows) > 1);
            }
        }
    };
    // Without the thread, memory comes as it is touched.
    let _ = thread::Builder::new()
        .name("engram-populate".into())
        .spawn(run);
}

/// An equal part of the cache's bytes for each table, since each is asked for as many rows.
fn open_cache(
    manifest: &Manifest,
    table: &Table,
    columns: &[Column],
    near: &Rows,
    config: &Config,
) -> Result<Option<TableCache>, IoError> {
    if matches!(manifest.storage, Storage::Attached { .. }) && table.planes.len() > 1 {
        return Ok(None);
    }
    let bytes = config.cache_bytes / manifest.tables.len();
    let words = |count| match &config.cache_folder {
        None => SharedWords::new(count),
        Some(folder) => {
            create_folder(folder)?;
            // Another pack, or another size, is another file.
            let pack = Digest::of(manifest.to_text().as_bytes());
            let name = format!("engram-{pack}-layer-{}-{count}.cache", table.layer);
            SharedWords::shared(&folder.join(name), count)
        }
    };
    let rows = RowCache::new(table.layer, table.codec.row_bytes(), bytes, words)?;
    let on_disk = columns.iter().filter(|column| !near.holds(column)).count();
    Ok(rows.map(|rows| TableCache::new(rows, columns, on_disk)))
}

fn start(
    rows: &[Arc<DiskRows>],
    files: &Arc<[DirectFile]>,
    config: &Config,
) -> Result<Workers, IoError> {
    // Room for the longest row wherever it begins in a unit.
    let unit = files.iter().map(DirectFile::unit).max().unwrap_or(1) as usize;
    let longest = rows.iter().map(|rows| rows.longest_read()).max();
    let slot_bytes = (longest.unwrap_or(0).next_multiple_of(unit) + unit).max(SLOT_BYTES);
    if config.reader == Reader::Direct {
        let most = u16::try_from(RING_BYTES / slot_bytes)
            .unwrap_or(u16::MAX)
            .max(1);
        let depth = config.io_depth.clamp(1, most);
        let threads = config.io_threads.max(1);
        let kind = WorkerKind::Uring { depth };
        match Workers::start(kind, threads, files, slot_bytes) {
            Ok(workers) => return Ok(workers),
            // As containers often do: threads do the same.
            Err(error) => tracing::warn!(%error, "io_uring is refused; reading by threads"),
        }
    }
    let threads = match (config.reader, config.io_threads) {
        (Reader::DirectThreads, 1..) => config.io_threads,
        _ => BLOCKING_THREADS,
    };
    Workers::start(WorkerKind::Blocking, threads, files, slot_bytes)
}
