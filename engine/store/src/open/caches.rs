//! The caches of rows read before.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use engram_format::{Column, LayerId, Manifest};
use engram_io::{IoError, Process, SharedWords, create_folder};

use super::{
    made_files::MadeFiles,
    memory_limit::{MemoryLimit, MemoryLimits},
    space,
};
use crate::{
    config::Config,
    error::OpenError,
    lookup::Table,
    metrics::Counters,
    shared_folder::cache_name,
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
pub(crate) fn bytes(config: &Config, limit: Option<MemoryLimit>) -> usize {
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

/// The caches of the tables of a pack.
pub(super) struct Caches<'a> {
    pub(super) manifest: &'a Manifest,
    /// The open columns of each table; where there are none, neither is a cache.
    pub(super) columns: &'a [Arc<[Column]>],
    /// Those of each table: an equal part, since each is asked for as many rows.
    pub(super) bytes: usize,
    /// Where their memory is shared.
    pub(super) folder: Option<&'a Path>,
    pub(super) made_files: &'a MadeFiles,
}

impl Caches<'_> {
    /// Their folder, and the bytes of the files that must be made there.
    pub(super) fn missing(&self, sources: &[Arc<Source>]) -> Option<(&Path, u64)> {
        let folder = self.folder?;
        let sources = sources.iter().zip(self.columns);
        let sources = sources.filter(|(_, columns)| !columns.is_empty());
        let missing = sources.filter_map(|(source, _)| {
            let words = RowCache::words_of(cached_row_bytes(source)?, self.bytes);
            let path = folder.join(cache_name(self.manifest, source.layer, words));
            (!path.exists()).then_some((words * size_of::<u64>()) as u64)
        });
        Some((folder, missing.sum()))
    }

    /// The cache of a table with these columns, of which `backed` share it. None where no set of rows fits, or a row is
    /// read in two parts.
    pub(super) fn open(
        &self,
        source: &Source,
        columns: &[Column],
        backed: usize,
        counters: &Arc<Counters>,
    ) -> Result<Option<CacheTier>, OpenError> {
        let Some(row_bytes) = cached_row_bytes(source).filter(|_| !columns.is_empty()) else {
            return Ok(None);
        };
        let layer = source.layer;
        let mut is_shared = false;
        let rows = RowCache::new(layer, row_bytes, self.bytes, |words| {
            if let Some(folder) = self.folder
                && let Some(shared) = self.share(folder, layer, words)?
            {
                is_shared = true;
                return Ok(shared);
            }
            Ok::<_, OpenError>(SharedWords::new(words)?)
        })?;
        let counters = counters.clone();
        Ok(rows.map(|rows| CacheTier::new(layer, rows, is_shared, columns, backed, counters)))
    }

    /// The words of the cache of `layer` in `folder`; none if they cannot be shared there.
    fn share(
        &self,
        folder: &Path,
        layer: LayerId,
        words: usize,
    ) -> Result<Option<SharedWords>, OpenError> {
        let path = folder.join(cache_name(self.manifest, layer, words));
        let open = || SharedWords::shared(&path, words);
        let opened = create_folder(folder).and_then(|()| match open() {
            // Somebody has cut it, and whoever used it has ended. What is in a cache can be read again.
            Err(IoError::WrongSize { .. }) => {
                fs::remove_file(&path).map_err(IoError::os("remove", &path))?;
                open()
            }
            opened => opened,
        });
        match opened {
            Ok((shared, made)) => {
                if made {
                    self.made_files.add(path);
                }
                Ok(Some(shared))
            }
            Err(error) if space::is_full(&error) => {
                Err(space::none(folder, (words * size_of::<u64>()) as u64))
            }
            Err(error) if is_refused(&error) => {
                tracing::warn!(
                    %error,
                    "the cache cannot be shared, so this process has one of its own; all users of a shared cache must \
                     be allowed to write its files: give them a group in common, the folder that group and the setgid \
                     bit, and whoever opens the pack first the umask 007"
                );
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Bytes of a row, where rows can be cached.
fn cached_row_bytes(source: &Source) -> Option<usize> {
    (source.part_count() == 1).then(|| source.parts()[0])
}

/// Whether the rights of this user, or the file system, do not let a cache be shared.
fn is_refused(error: &IoError) -> bool {
    let kind = error.os_error().map(io::Error::kind);
    let refused = matches!(
        kind,
        Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::Unsupported)
    );
    // Some file systems share no memory that is written.
    refused || matches!(error, IoError::Os { action: "map", .. })
}

/// A thread that takes the memory of the caches from the system, until it is done, too little would stay free, or this
/// is dropped. A huge page that a row is the first to touch costs a hundred times what the row does, and the first rows
/// of a batch would each touch another.
#[derive(Debug)]
pub(crate) struct Populating {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    process: Process,
}

impl Populating {
    /// Starts the thread, where there are caches. Without it, memory comes as it is touched.
    pub(super) fn start(tables: &[Arc<Table>], limits: MemoryLimits) -> Option<Self> {
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
