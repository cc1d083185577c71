//! The caches of rows read before.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use engram_format::{Column, Digest, Manifest, Storage, Table as TableManifest};
use engram_io::{IoError, Process, SharedWords, create_folder};

use crate::{
    config::Config,
    lookup::Table,
    metrics::Counters,
    tier::{CacheTier, RowCache},
};

/// An equal part of the cache's bytes for each table, since each is asked for as many rows. `backed` of the
/// columns share it. None where no set of rows fits, or a row is read in two parts.
pub(super) fn open(
    manifest: &Manifest,
    table: &TableManifest,
    columns: &[Column],
    backed: usize,
    counters: &Arc<Counters>,
    config: &Config,
) -> Result<Option<CacheTier>, IoError> {
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
    Ok(rows.map(|rows| CacheTier::new(table.layer, rows, columns, backed, counters.clone())))
}

/// A thread that takes the memory of the caches from the system, until it is done or this is dropped. A huge
/// page that a row is the first to touch costs a hundred times what the row does, and the first rows of a
/// batch would each touch another.
#[derive(Debug)]
pub(crate) struct Populating {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    process: Process,
}

impl Populating {
    /// Starts the thread, where there are caches. Without it, memory comes as it is touched.
    pub(super) fn start(tables: &[Table]) -> Option<Self> {
        let receivers = tables.iter().filter_map(|table| table.backed.as_ref());
        let caches: Vec<Arc<CacheTier>> = receivers
            .filter_map(|backed| backed.receiver.cache.clone())
            .collect();
        if caches.is_empty() {
            return None;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let run = move || {
            for cache in caches {
                cache.rows().populate(|| !stopped.load(Ordering::Relaxed));
            }
        };
        let thread = thread::Builder::new().name("engram-populate".into());
        Some(Self {
            stop,
            thread: Some(thread.spawn(run).ok()?),
            process: Process::current(),
        })
    }
}

impl Drop for Populating {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else {
            return;
        };
        if self.process.is_current() {
            // One that panicked has said so.
            let _ = thread.join();
        } else {
            // Forked from the process that has the thread: nothing here would ever end.
            std::mem::forget(thread);
        }
    }
}
