//! The caches of rows read before.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use engram_format::{Column, Digest, Manifest};
use engram_io::{IoError, SharedWords, create_folder};

use super::memory_limit::{MemoryLimit, MemoryLimits};
use crate::{
    config::Config,
    lookup::Table,
    metrics::Counters,
    source::Source,
    tier::{CacheTier, RowCache},
};

/// Most bytes of caches whose size is not configured: room for a million rows of DeepSeek-V4.1-Flash, the short
/// n-grams of most texts.
const DEFAULT_BYTES: usize = 256 << 20;
/// Part of the memory that is left which caches take whose size is not configured.
const DEFAULT_PART: u64 = 4;
/// Part of the limit that stays free while memory is taken ahead, and the most that stays free.
const FREE_PART: u64 = 8;
const MOST_FREE_BYTES: u64 = 1 << 30;

/// Bytes for the caches of all tables.
pub(super) fn bytes(config: &Config, limit: Option<MemoryLimit>) -> usize {
    if !config.fetches() {
        return 0;
    }
    config.cache_bytes.unwrap_or_else(|| {
        let left = limit.map_or(u64::MAX, |limit| match config.cache_folder {
            None => limit.available,
            // Another size is another file, so it must not depend on what happens to be free.
            Some(_) => limit.bytes,
        });
        let part = usize::try_from(left / DEFAULT_PART).unwrap_or(usize::MAX);
        part.min(DEFAULT_BYTES)
    })
}

/// Whether `bytes` bytes more can be taken before they are needed, so that enough stays for whoever else lives under
/// the limit.
fn may_take(limit: Option<MemoryLimit>, bytes: u64) -> bool {
    limit.is_none_or(|limit| {
        let free = (limit.bytes / FREE_PART).min(MOST_FREE_BYTES);
        limit.available >= bytes.saturating_add(free)
    })
}

/// The cache of a table, of up to `bytes` bytes. `backed` of the columns share it. None where no set of rows fits, or a
/// row is read in two parts.
pub(super) fn open(
    manifest: &Manifest,
    source: &Source,
    columns: &[Column],
    backed: usize,
    bytes: usize,
    counters: &Arc<Counters>,
    config: &Config,
) -> Result<Option<CacheTier>, IoError> {
    if source.part_count() > 1 {
        return Ok(None);
    }
    let words = |count| match &config.cache_folder {
        None => SharedWords::new(count),
        Some(folder) => {
            create_folder(folder)?;
            // Another pack, or another size, is another file.
            let pack = Digest::of(manifest.to_text().as_bytes());
            let name = format!("engram-{pack}-layer-{}-{count}.cache", source.layer);
            SharedWords::shared(&folder.join(name), count)
        }
    };
    let rows = RowCache::new(source.layer, source.parts()[0], bytes, words)?;
    Ok(rows.map(|rows| CacheTier::new(source.layer, rows, columns, backed, counters.clone())))
}

/// A thread that takes the memory of the caches from the system, until it is done, too little would stay free, or this
/// is dropped. A huge page that a row is the first to touch costs a hundred times what the row does, and the first rows of a
/// batch would each touch another.
#[derive(Debug)]
pub(crate) struct Populating {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Populating {
    /// Starts the thread, where there are caches. Without it, memory comes as it is touched.
    pub(super) fn start(tables: &[Table], limits: MemoryLimits) -> Option<Self> {
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
            let mut later: usize = caches.iter().map(|cache| cache.rows().bytes()).sum();
            for cache in caches {
                later -= cache.rows().bytes();
                cache.rows().populate(|left| {
                    !stopped.load(Ordering::Relaxed)
                        && may_take(limits.now(), (left + later) as u64)
                });
            }
        };
        let thread = thread::Builder::new().name("engram-populate".into());
        Some(Self {
            stop,
            thread: Some(thread.spawn(run).ok()?),
        })
    }
}

impl Drop for Populating {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Reader;

    const MIB: u64 = 1 << 20;

    fn limit(bytes: u64, available: u64) -> MemoryLimit {
        MemoryLimit { bytes, available }
    }

    #[test]
    fn a_size_that_is_not_given_follows_the_memory_that_is_left() {
        let own = Config::new();
        let shared = Config::new().cache_folder("folder");
        for (config, limit, expected) in [
            (&own, None, 256 * MIB),
            (&own, Some(limit(32 << 30, 20 << 30)), 256 * MIB),
            (&own, Some(limit(200 * MIB, 160 * MIB)), 40 * MIB),
            (&own, Some(limit(200 * MIB, 0)), 0),
            (&shared, Some(limit(200 * MIB, 160 * MIB)), 50 * MIB),
            (&shared, Some(limit(200 * MIB, 0)), 50 * MIB),
        ] {
            assert_eq!(bytes(config, limit) as u64, expected, "{limit:?}");
            let given = config.clone().cache_bytes(1 << 40);
            assert_eq!(bytes(&given, limit), 1 << 40);
            let mapped = config.clone().reader(Reader::Mmap);
            assert_eq!(bytes(&mapped, limit), 0);
        }
    }

    #[test]
    fn memory_is_taken_ahead_where_enough_stays_free() {
        assert!(may_take(None, 1 << 50));
        assert!(may_take(Some(limit(200 * MIB, 195 * MIB)), 100 * MIB));
        assert!(!may_take(Some(limit(200 * MIB, 195 * MIB)), 180 * MIB));
        assert!(!may_take(Some(limit(200 * MIB, 195 * MIB)), 256 * MIB));
        assert!(may_take(Some(limit(64 << 30, 2 << 30)), 256 * MIB));
        assert!(!may_take(Some(limit(64 << 30, 1 << 30)), 256 * MIB));
    }
}
