//! The rows that a profile expects, on their way into the cache.

use std::{
    cmp::Reverse,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use engram_format::{Column, Hasher, OrderCounts, Profile, RowId};
use engram_io::IoError;

use crate::{
    cache::RowCache,
    error::LookupError,
    fetch::{DiskRows, Fetch, Intake, Pool, WARM_LIVES, Want, Workers},
    metrics::add,
};

/// A table whose cache is seeded.
#[derive(Debug)]
pub(crate) struct SeededTable {
    /// Its layer's place in the scheme.
    pub(crate) layer_index: usize,
    /// Its columns on disk.
    pub(crate) columns: Vec<Column>,
    pub(crate) disk: Arc<DiskRows>,
}

/// What reads rows, with as many threads as look-ups have.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) workers: Arc<Workers>,
    pub(crate) pool: Arc<Pool>,
}

/// A thread that fills caches, until it is done or this is dropped.
#[derive(Debug)]
pub(crate) struct Seeding {
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
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
    /// Starts to read the rows of `profile` into the caches of `tables`.
    ///
    /// # Errors
    /// A system that has no thread left.
    pub(crate) fn start(
        profile: Profile,
        hasher: Hasher,
        tables: Vec<SeededTable>,
        source: Source,
    ) -> Result<Self, IoError> {
        let progress = Arc::new(Progress::default());
        let mine = progress.clone();
        let run = move || {
            let _guard = EndOnPanic(&mine);
            let wanted: Vec<Vec<RowId>> = tables
                .iter()
                .map(|table| table.wanted(&profile, &hasher, &mine.stop))
                .collect();
            drop((profile, hasher));
            mine.read(&tables, &wanted, &source);
        };
        let thread = thread::Builder::new().name("engram-seed".into());
        let thread = thread
            .spawn(run)
            .map_err(IoError::system("start a thread that seeds the cache"))?;
        Ok(Self {
            progress,
            thread: Some(thread),
        })
    }

    /// Rows read so far, and reads of a piece that failed.
    pub(crate) fn counts(&self) -> [u64; 2] {
        [&self.progress.rows, &self.progress.failures].map(|count| count.load(Ordering::Relaxed))
    }

    /// Waits for the end.
    pub(crate) fn wait(&self) -> Result<u64, &LookupError> {
        self.progress.outcome.wait().as_ref().copied()
    }
}

impl Drop for Seeding {
    fn drop(&mut self) {
        self.progress.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
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
    /// Reads the `wanted` rows of each table, most wanted first, so that look-ups find those soon, and in pieces
    /// that leave half of the reads in flight to look-ups.
    fn read(&self, tables: &[SeededTable], wanted: &[Vec<RowId>], source: &Source) {
        let piece = (source.workers.depth() / 2).max(1);
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
            match table.read(wanted.copied(), table.lives(start), source) {
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
    fn cache(&self) -> &RowCache {
        let cache = self.disk.cache.as_ref();
        &cache.expect("only tables with a cache are seeded").rows
    }

    /// The rows that the n-grams of `profile` ask for most often, as many as the cache has room for, the most
    /// wanted first. A row has the counts of all n-grams that share it.
    fn wanted(&self, profile: &Profile, hasher: &Hasher, stop: &AtomicBool) -> Vec<RowId> {
        let room = self.cache().capacity();
        let mut best: Vec<(Reverse<u64>, RowId)> = Vec::new();
        for column in &self.columns {
            let counts = profile.order(column.order);
            if stop.load(Ordering::Relaxed) {
                return Vec::new();
            }
            let ngrams = counts.into_iter().flat_map(OrderCounts::iter);
            let rows = ngrams.map(|(ngram, count)| {
                let row = hasher.ngram_row(self.layer_index, column.index as usize, ngram);
                (row, count)
            });
            let mut rows: Vec<(RowId, u64)> = rows.collect();
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

    /// Lives of a row that so many others are wanted more than. What look-ups bring should first take the places of
    /// the others: with a life for each, the best would go as soon as the worst.
    fn lives(&self, rank: usize) -> u64 {
        if rank < self.cache().capacity() / 2 {
            WARM_LIVES
        } else {
            0
        }
    }

    /// Reads those of `rows` that the cache has room for, and returns how many there were.
    fn read(
        &self,
        rows: impl Iterator<Item = RowId>,
        lives: u64,
        source: &Source,
    ) -> Result<u64, LookupError> {
        let pool = &source.pool;
        let mut fetch = pool.fetch();
        let mine = Arc::get_mut(&mut fetch).expect("nobody else has it yet");
        let rows = rows.filter(|&row| self.cache().has_room(row));
        mine.plan
            .wants
            .extend((0..).zip(rows).map(|(index, row)| Want {
                row,
                index,
                slot: index,
            }));
        let count = mine.plan.wants.len();
        if count > 0 {
            mine.rows = Some(self.disk.clone());
            mine.intake = Intake::Seed(lives);
            mine.plan.make_reads(&self.disk, source.workers.slot_bytes);
            mine.buffer = Some(pool.buffer(count, self.disk.parts())?);
            source.workers.submit(&fetch);
            let mine = Fetch::wait(&mut fetch);
            mine.buffer = Some(mine.take_result()?);
        }
        pool.put_fetch(fetch);
        Ok(count as u64)
    }
}
