//! The rows that a profile expects, on their way into the cache.

use std::{
    cmp::Reverse,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use engram_format::{Column, Hasher, OrderCounts, Profile};
use engram_io::IoError;

use crate::{
    backing::Backed,
    error::LookupError,
    fill::fill_cache,
    lookup::Table,
    metrics::add,
    owner::Owner,
    pools::Pools,
    resolve::RowRef,
    tier::{Admit, FULL_CREDIT, RowCache},
};

/// A table whose cache is seeded.
#[derive(Debug)]
struct SeededTable {
    /// Its layer's place in the scheme.
    layer_index: usize,
    /// Its open columns whose rows are fetched, with their place among all that are open.
    columns: Vec<(u16, Column)>,
    backed: Backed,
}

/// A thread that fills caches, until it is done, or soon after this is dropped.
#[derive(Debug)]
pub(crate) struct Seeding {
    progress: Arc<Progress>,
    owner: Owner,
    /// What a process is told that was forked from the one that has the thread.
    forked: OnceLock<LookupError>,
}

#[derive(Debug, Default)]
struct Progress {
    stop: AtomicBool,
    rows: AtomicU64,
    failures: AtomicU64,
    /// Rows read, or the first failure.
    outcome: OnceLock<Result<u64, LookupError>>,
}

impl Seeding {
    /// Starts to read the rows of `profile` into the caches of `tables`; none if no table has one. Where the system
    /// refuses the thread, the caches begin empty.
    pub(crate) fn start(
        profile: Profile,
        hasher: &Hasher,
        tables: &[Arc<Table>],
        pools: &Arc<Pools>,
    ) -> Option<Self> {
        let tables = tables.iter().enumerate();
        let tables: Vec<SeededTable> = tables.filter_map(SeededTable::of).collect();
        if tables.is_empty() {
            return None;
        }
        let owner = pools.owner;
        let (hasher, pools) = (hasher.clone(), pools.clone());
        let progress = Arc::new(Progress::default());
        let mine = progress.clone();
        let run = move || {
            let _guard = EndOnPanic(&mine);
            let wanted: Vec<Vec<RowRef>> = tables
                .iter()
                .map(|table| table.wanted(&profile, &hasher, &mine.stop))
                .collect();
            drop((profile, hasher));
            mine.read(&tables, &wanted, &pools);
        };
        let thread = thread::Builder::new().name("engram-seed".into());
        if let Err(cause) = thread.spawn(run) {
            progress.refuse(IoError::no_thread("seeds the cache")(cause));
        }
        Some(Self {
            progress,
            owner,
            forked: OnceLock::new(),
        })
    }

    /// Rows read so far, and reads of a piece that failed.
    pub(crate) fn counts(&self) -> [u64; 2] {
        [&self.progress.rows, &self.progress.failures].map(|count| count.load(Ordering::Relaxed))
    }

    /// Waits for the end.
    pub(crate) fn wait(&self) -> Result<u64, &LookupError> {
        if let Err(error) = self.owner.check() {
            return Err(self.forked.get_or_init(|| error));
        }
        self.progress.outcome.wait().as_ref().copied()
    }
}

impl Drop for Seeding {
    /// Does not wait for the thread, which owns all that it needs: this may run on a reading thread, whose reads the
    /// thread may be waiting for.
    fn drop(&mut self) {
        self.progress.stop.store(true, Ordering::Relaxed);
    }
}

/// Ends the wait for a thread that panics.
struct EndOnPanic<'a>(&'a Progress);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        // No effect where there is an outcome.
        let _ = self.0.outcome.set(Err(LookupError::Aborted));
    }
}

impl Progress {
    /// Ends before anything is read.
    fn refuse(&self, error: IoError) {
        tracing::warn!(%error, "the cache begins empty");
        add(&self.failures, 1);
        let _ = self.outcome.set(Err(error.into()));
    }

    /// Reads the `wanted` rows of each table, most wanted first, so that look-ups find those soon, and in pieces
    /// that leave half of the reads in flight to look-ups.
    fn read(&self, tables: &[SeededTable], wanted: &[Vec<RowRef>], pools: &Pools) {
        let depth = tables
            .iter()
            .map(|table| table.backed.backing.depth())
            .max();
        let piece = (depth.unwrap_or(0) / 2).max(1);
        let mut first = None;
        let longest = wanted.iter().map(Vec::len).max().unwrap_or(0);
        let pieces = (0..longest).step_by(piece);
        for (start, (table, wanted)) in
            pieces.flat_map(|start| tables.iter().zip(wanted).map(move |table| (start, table)))
        {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let wanted = wanted.iter().skip(start).take(piece);
            let cache = table.cache();
            let wanted = wanted.copied().filter(|row| cache.has_room(row.row_id));
            let admit = Admit::IfRoom(table.credit(start));
            match fill_cache(&table.backed, wanted, admit, pools) {
                Ok(rows) => add(&self.rows, rows),
                Err(error) => {
                    add(&self.failures, 1);
                    if first.is_none() {
                        tracing::warn!(%error, "rows of the profile cannot be read into the cache");
                        first = Some(error);
                    }
                }
            }
        }
        let rows = self.rows.load(Ordering::Relaxed);
        tracing::debug!(rows, "seeded");
        let _ = self.outcome.set(first.map_or(Ok(rows), Err));
    }
}

impl SeededTable {
    /// The table at `layer_index`, if it has a cache.
    fn of((layer_index, table): (usize, &Arc<Table>)) -> Option<Self> {
        let backed = table.backed.as_ref()?;
        backed.receiver.cache.as_ref()?;
        let columns = (0..).zip(table.columns.iter().copied());
        let columns = columns.filter(|(place, _)| table.is_backed[usize::from(*place)]);
        Some(Self {
            layer_index,
            columns: columns.collect(),
            backed: backed.clone(),
        })
    }

    fn cache(&self) -> &RowCache {
        let cache = self.backed.receiver.cache.as_ref();
        cache.expect("only tables with a cache are seeded").rows()
    }

    /// The rows that the n-grams of `profile` ask for most often, as many as the cache has room for, the most
    /// wanted first. A row has the counts of all n-grams that share it.
    fn wanted(&self, profile: &Profile, hasher: &Hasher, stop: &AtomicBool) -> Vec<RowRef> {
        let room = self.cache().capacity();
        let mut best: Vec<(Reverse<u64>, RowRef)> = Vec::new();
        for &(place, column) in &self.columns {
            let counts = profile.order(column.order);
            if stop.load(Ordering::Relaxed) {
                return Vec::new();
            }
            let ngrams = counts.into_iter().flat_map(OrderCounts::iter);
            let rows = ngrams.map(|(ngram, count)| {
                let row_id = hasher.ngram_row(self.layer_index, column.index as usize, ngram);
                (RowRef::alone(row_id, place), count)
            });
            let mut rows: Vec<(RowRef, u64)> = rows.collect();
            rows.sort_unstable();
            rows.dedup_by(|next, kept| {
                let shared = next.0 == kept.0;
                kept.1 += if shared { next.1 } else { 0 };
                shared
            });
            best.extend(rows.into_iter().map(|(row, count)| (Reverse(count), row)));
            if best.len() > room {
                best.select_nth_unstable(room - 1);
                best.truncate(room);
            }
        }
        best.sort_unstable();
        best.into_iter().map(|(_, row)| row).collect()
    }

    /// Credit of a row that so many others are wanted more than. What lookups bring should first take the
    /// places of the others: with credit for each, the best would go as soon as the worst.
    fn credit(&self, rank: usize) -> u64 {
        if rank < self.cache().capacity() / 2 {
            FULL_CREDIT
        } else {
            0
        }
    }
}
