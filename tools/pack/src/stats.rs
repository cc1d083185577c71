//! Counts rows that are not numbers, zero, or repeat another.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Result, ensure};
use engram::{Batch, Column, Config, LayerId, RowCodec, RowId, Store};
use engram_format::Digest;
use engram_io::parallel;
use engram_kit::parallel::default_jobs;
use serde::Serialize;

use crate::Progress;

/// Rows read at a time.
const CHUNK: u64 = 4_096;

/// What is counted, and with how much memory.
#[derive(Debug, Clone)]
pub struct StatsOptions {
    /// Threads; 0 for a few.
    pub jobs: usize,
    /// Bytes for the hashes of rows, of all threads together.
    pub memory: usize,
    /// Folder of the checkpoint behind an attached pack, where it has moved.
    pub checkpoint: Option<PathBuf>,
    /// Folders of stripes that have moved.
    pub stripes: BTreeMap<u32, PathBuf>,
}

/// What was counted.
#[derive(Debug, Clone, Serialize)]
pub struct StatsReport {
    /// Rows of all columns.
    pub rows: u64,
    /// Those with a value or a scale that is not a number.
    pub nan_rows: u64,
    /// Those all of whose values are zero.
    pub zero_rows: u64,
    /// Those whose bytes are those of an earlier row of their column.
    pub repeated_rows: u64,
    /// Wall-clock time.
    pub seconds: f64,
    /// Of each column.
    pub columns: Vec<ColumnStats>,
}

/// What was counted in one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnStats {
    /// The model's layer id.
    pub layer: LayerId,
    /// Tokens in its n-grams.
    pub order: u32,
    /// 0-based index among the hashes of its order.
    pub head: u32,
    /// Its rows.
    pub rows: u64,
    /// Those with a value or a scale that is not a number.
    pub nan_rows: u64,
    /// Those all of whose values are zero.
    pub zero_rows: u64,
    /// Those whose bytes are those of an earlier row, by a hash of 64 bits.
    pub repeated_rows: u64,
}

/// Counts in the pack in the folder `pack`. `progress` counts row bytes.
///
/// # Errors
/// A pack that cannot be opened or read, or has a damaged record.
pub fn stats(pack: &Path, options: &StatsOptions, progress: Progress<'_>) -> Result<StatsReport> {
    let start = Instant::now();
    ensure!(
        options.memory > 0,
        "the memory for hashes is 0, expected more"
    );
    // Every row is read once or a few times, so none is worth a place in a cache.
    let mut config = Config::new().cache_bytes(0);
    config.checkpoint.clone_from(&options.checkpoint);
    config.stripes.clone_from(&options.stripes);
    let store = Store::open(pack, config)?;
    let jobs = match options.jobs {
        0 => default_jobs(),
        jobs => jobs,
    };
    let mut columns = Vec::new();
    for layer in &store.scheme().layers {
        let of_layer = store.columns(layer.id)?;
        columns.extend(of_layer.iter().map(|&column| (layer.id, column)));
    }
    let hashes = options.memory / jobs / size_of::<u64>();
    let counted = parallel::map(jobs, &columns, |&(layer, column)| {
        let count = Count {
            store: &store,
            codec: store.codec(layer)?,
            layer,
            column,
        };
        count.run(hashes.max(1) as u64, progress)
    })?;
    let sum = |of: fn(&ColumnStats) -> u64| counted.iter().map(of).sum();
    Ok(StatsReport {
        rows: sum(|column| column.rows),
        nan_rows: sum(|column| column.nan_rows),
        zero_rows: sum(|column| column.zero_rows),
        repeated_rows: sum(|column| column.repeated_rows),
        seconds: start.elapsed().as_secs_f64(),
        columns: counted,
    })
}

/// One column that is counted.
struct Count<'a> {
    store: &'a Store,
    codec: RowCodec,
    layer: LayerId,
    column: Column,
}

impl Count<'_> {
    /// Counts with room for `most` hashes: rows are told apart in as many passes as that takes, each with its share
    /// of the hashes.
    fn run(&self, most: u64, progress: Progress<'_>) -> Result<ColumnStats> {
        let rows = self.column.row_count;
        let passes = rows.div_ceil(most);
        let mut stats = ColumnStats {
            layer: self.layer,
            order: self.column.order,
            head: self.column.head,
            rows,
            nan_rows: 0,
            zero_rows: 0,
            repeated_rows: rows,
        };
        for pass in 0..passes {
            let mut hashes = Vec::with_capacity(usize::try_from(rows.div_ceil(passes))?);
            self.each(
                |row| {
                    if pass == 0 {
                        stats.nan_rows += u64::from(self.codec.find_nan(row).is_some());
                        stats.zero_rows += u64::from(self.is_zero(row));
                    }
                    #[expect(clippy::cast_possible_truncation, reason = "half of the digest")]
                    let hash = Digest::of(row).0 as u64;
                    if hash % passes == pass {
                        hashes.push(hash);
                    }
                },
                |bytes| {
                    // Of all passes together, the bytes of the column.
                    progress(bytes * (pass + 1) / passes - bytes * pass / passes);
                },
            )?;
            hashes.sort_unstable();
            hashes.dedup();
            stats.repeated_rows -= hashes.len() as u64;
        }
        Ok(stats)
    }

    /// Calls `take` with every row, and `done` with the bytes of some together.
    fn each(&self, mut take: impl FnMut(&[u8]), mut done: impl FnMut(u64)) -> Result<()> {
        let row_bytes = self.codec.row_bytes();
        let end = self.column.first_row + self.column.row_count;
        let (mut ids, mut bytes) = (Vec::new(), Vec::new());
        let mut first = self.column.first_row;
        while first < end {
            let next = end.min(first + CHUNK);
            ids.clear();
            ids.extend((first..next).map(RowId));
            bytes.resize(ids.len() * row_bytes, 0);
            self.store
                .lookup(Batch::new(self.layer, &ids), &mut bytes)?;
            bytes.chunks_exact(row_bytes).for_each(&mut take);
            done(bytes.len() as u64);
            first = next;
        }
        Ok(())
    }

    fn is_zero(&self, row: &[u8]) -> bool {
        let values = &row[..self.codec.plane_bytes()[0]];
        values.iter().all(|&byte| byte == 0)
    }
}
