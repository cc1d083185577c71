//! Makes a cold pack of a packed one: the rows of each column in Zstandard frames.
//!
//! As with a build, what is finished has its final name and is on the drive, and the manifest comes last.

mod column;
mod packed;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use engram::{read_hasher, read_manifest, shard_paths};
use engram_cold::LEVELS;
use engram_format::{
    ColdColumn, ColdShard, ColdTable, Digest, LayerId, MAX_FRAME_BYTES, Manifest, RecordLayout,
    Storage,
};
use engram_io::parallel;
use engram_kit::parallel::default_jobs;
use serde::Serialize;

use crate::{
    Progress, Stop,
    build::{begin_of_pack, is_finished, space, write_manifest, write_token_map},
    claim::Claim,
};
use column::{ColumnJob, Trial};

/// Bytes that the records of a frame take in the packed pack, where the caller does not say.
const FRAME_BYTES: u64 = 64 << 10;

/// How a pack is frozen.
#[derive(Debug, Clone)]
pub struct FreezeOptions {
    /// Level of Zstandard, 1 to 22.
    pub level: i32,
    /// Bytes that the records of a frame take in the packed pack at most, if one group of records is not larger:
    /// smaller frames cost a look-up less and save less.
    pub frame_bytes: u64,
    /// Threads; 0 for a few.
    pub jobs: usize,
    /// Whether to go on with an unfinished cold pack.
    pub resume: bool,
    /// Folders of stripes of the packed pack that have moved.
    pub stripes: BTreeMap<u32, PathBuf>,
    /// Ends the work; it can be resumed as if it was killed.
    pub stop: Stop,
}

impl Default for FreezeOptions {
    fn default() -> Self {
        Self {
            level: 3,
            frame_bytes: FRAME_BYTES,
            jobs: 0,
            resume: false,
            stripes: BTreeMap::new(),
            stop: Stop::default(),
        }
    }
}

/// What freezing did.
#[derive(Debug, Clone, Serialize)]
pub struct FreezeReport {
    /// Bytes of the packed shards.
    pub packed_bytes: u64,
    /// Bytes of all rows, without seals and padding.
    pub row_bytes: u64,
    /// Bytes of the cold shards.
    pub cold_bytes: u64,
    /// Columns that an earlier run had frozen.
    pub columns_resumed: usize,
    /// Wall-clock time.
    pub seconds: f64,
    /// Of each column.
    pub columns: Vec<FrozenColumn>,
}

/// What became of one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FrozenColumn {
    /// The model's layer id.
    pub layer: LayerId,
    /// Tokens in its n-grams.
    pub order: u32,
    /// 0-based index among the hashes of its order.
    pub head: u32,
    /// Bytes of its rows.
    pub row_bytes: u64,
    /// Bytes of its packed shard.
    pub packed_bytes: u64,
    /// Bytes of its cold one.
    pub cold_bytes: u64,
    /// Those of them that are a dictionary; 0 where none pays.
    pub dictionary_bytes: u32,
    /// Its frames.
    pub frames: u64,
}

/// Makes the cold pack `cold` of the packed pack `pack`. `progress` counts bytes of [`pack_bytes`](crate::pack_bytes).
///
/// # Errors
/// A pack that is not packed, or has a damaged record; a folder that holds something else; a drive that is full. What
/// is finished stays, and `resume` goes on from there.
pub fn freeze(
    pack: &Path,
    cold: &Path,
    options: &FreezeOptions,
    progress: Progress<'_>,
) -> Result<FreezeReport> {
    let start = Instant::now();
    ensure!(
        LEVELS.contains(&options.level),
        "the level is {}, expected {} to {}",
        options.level,
        LEVELS.start(),
        LEVELS.end()
    );
    let most = MAX_FRAME_BYTES;
    ensure!(
        (1..=most).contains(&options.frame_bytes),
        "frames are of {} bytes, expected 1 to {most}",
        options.frame_bytes
    );
    let manifest = read_manifest(pack)?;
    match &manifest.storage {
        Storage::Packed => {}
        Storage::Attached { checkpoint } => bail!(
            "{} is attached to {checkpoint} and has no rows of its own that could be frozen; make a packed pack by \
             `engram-pack build`",
            pack.display()
        ),
        Storage::Cold { .. } => bail!("{} is a cold pack already", pack.display()),
    }
    let plan = draft(&manifest, options.frame_bytes);
    if options.resume && is_finished(cold) {
        let found = read_manifest(cold)?;
        ensure!(
            packed(&found) == packed(&manifest),
            "{} is a finished pack already, of other rows",
            cold.display()
        );
        return Ok(report(&found, usize::MAX, start));
    }
    let task = format!(
        "{} freeze level={} frame={}",
        Digest::of(plan.to_text().as_bytes()),
        options.level,
        options.frame_bytes
    );
    let claims = begin_of_pack(&[cold], &task, options.resume)?;
    let finished = finish(pack, &manifest, plan, cold, options, progress);
    let (frozen, resumed) = finished.with_context(|| {
        format!(
            "freezing to {} is unfinished; run it again with --resume",
            cold.display()
        )
    })?;
    claims.into_iter().try_for_each(Claim::end)?;
    Ok(report(&frozen, resumed, start))
}

/// The manifest of the packed pack, in one folder, that has the rows of `manifest`.
pub(crate) fn packed(manifest: &Manifest) -> Manifest {
    Manifest {
        storage: Storage::Packed,
        stripes: None,
        ..manifest.clone()
    }
}

/// The manifest of the cold pack without what only its frames can tell.
fn draft(packed: &Manifest, frame_bytes: u64) -> Manifest {
    let unknown = ColdShard {
        bytes: 0,
        dictionary_bytes: 0,
        digest: Digest(0),
    };
    let tables = packed.tables.iter().map(|table| ColdTable {
        frame_rows: frame_rows(&table.layout(), frame_bytes),
        shards: vec![unknown; table.shards.len()],
    });
    Manifest {
        storage: Storage::Cold {
            tables: tables.collect(),
        },
        stripes: None,
        ..packed.clone()
    }
}

/// Rows of a frame of whole groups that have `frame_bytes` bytes at most, or of one group.
fn frame_rows(layout: &RecordLayout, frame_bytes: u64) -> u64 {
    let groups = frame_bytes / layout.group_bytes() as u64;
    groups.max(1) * layout.group_records() as u64
}

/// Freezes the columns that are missing, then writes the rest of the pack. Returns its manifest, and how many columns
/// an earlier run had frozen.
fn finish(
    pack: &Path,
    manifest: &Manifest,
    mut plan: Manifest,
    cold: &Path,
    options: &FreezeOptions,
    progress: Progress<'_>,
) -> Result<(Manifest, usize)> {
    let token_map = read_hasher(pack)?;
    let from = shard_paths(pack, manifest, &options.stripes)?;
    let to = shard_paths(cold, &plan, &BTreeMap::new())?;
    let paths = from.into_iter().flatten().zip(to.into_iter().flatten());
    let jobs: Vec<ColumnJob<'_>> = columns(&plan)
        .zip(paths)
        .map(|((_, column), (from, to))| ColumnJob {
            column,
            from,
            to,
            options,
        })
        .collect();
    let threads = match options.jobs {
        0 => default_jobs(),
        jobs => jobs,
    };
    let trials = parallel::map(threads, &jobs, ColumnJob::try_out)?;
    let wanted = jobs.iter().zip(&trials);
    space::check(wanted.filter_map(|(job, trial)| match trial {
        Trial::Finished(_) => None,
        Trial::Missing { cold_bytes, .. } => Some((&*job.to, *cold_bytes)),
    }))?;
    let work: Vec<_> = jobs.iter().zip(&trials).collect();
    let frozen = parallel::map(threads, &work, |(job, trial)| job.run(trial, progress))?;
    let mut frozen = frozen.into_iter();
    if let Storage::Cold { tables } = &mut plan.storage {
        for table in tables {
            let columns = table.shards.len();
            table.shards = frozen.by_ref().take(columns).collect();
        }
    }
    write_token_map(cold, token_map.token_map())?;
    write_manifest(cold, &plan)?;
    let resumed = trials
        .iter()
        .filter(|trial| matches!(trial, Trial::Finished(_)));
    Ok((plan, resumed.count()))
}

/// The columns of a cold pack, each with the index of its table.
pub(crate) fn columns(manifest: &Manifest) -> impl Iterator<Item = (usize, ColdColumn)> {
    (0..manifest.tables.len()).flat_map(move |table| {
        let columns = manifest.scheme.columns(table);
        columns.filter_map(move |column| Some((table, manifest.cold_column(table, column)?)))
    })
}

fn report(cold: &Manifest, resumed: usize, start: Instant) -> FreezeReport {
    let columns: Vec<FrozenColumn> = columns(cold)
        .map(|(_, column)| {
            let (header, rows) = (column.header, column.header.column.row_count);
            FrozenColumn {
                layer: header.layer,
                order: header.column.order,
                head: header.column.head,
                row_bytes: rows * u64::from(header.row_bytes),
                packed_bytes: column.layout().shard_bytes(rows),
                cold_bytes: column.shard.bytes,
                dictionary_bytes: column.shard.dictionary_bytes,
                frames: column.frames(),
            }
        })
        .collect();
    let sum = |of: fn(&FrozenColumn) -> u64| columns.iter().map(of).sum();
    FreezeReport {
        packed_bytes: sum(|column| column.packed_bytes),
        row_bytes: sum(|column| column.row_bytes),
        cold_bytes: sum(|column| column.cold_bytes),
        columns_resumed: resumed.min(columns.len()),
        seconds: start.elapsed().as_secs_f64(),
        columns,
    }
}
