//! Packs a checkpoint: one shard for each column, then the token map, then the manifest.
//!
//! Finished shards carry their final name and are on the drive, so a build that was stopped at any
//! point goes on with the missing ones and ends with the same bytes.

mod rows;
mod shard;
mod space;
mod state;
mod stripes;
mod zeros;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use engram::{read_manifest, shard_paths};
use engram_checkpoint::Checkpoint;
use engram_format::{
    Digest, MANIFEST_FILE, Manifest, ShardDigests, Storage, TOKEN_MAP_FILE, Table, TokenMap,
    TokenMapFile,
};
use engram_io::{parallel, publish_bytes};
use engram_kit::parallel::default_jobs;
use serde::Serialize;

use crate::{Progress, Stop, claim::Claim};
use shard::ShardJob;
use state::{begin_build, end_stripes};
use stripes::Striping;

pub(crate) use rows::RowStream;
#[cfg(feature = "overlay")]
pub(crate) use shard::{ShardFile, finished_shard};
pub(crate) use state::{begin_attach, is_finished};
pub(crate) use zeros::{refuse, unstored_rows};

const UNKNOWN: ShardDigests = ShardDigests {
    data: Digest(0),
    rows: Digest(0),
};

/// How a pack is built.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// Threads; 0 for a few.
    pub jobs: usize,
    /// Whether to go on with an unfinished build in the pack's folder and those of its stripes.
    pub resume: bool,
    /// Folders that the shards are spread over, a column in each in turns; the pack's own if none is given. Those
    /// outside of it must be empty or missing. A folder within it, or it itself, is recorded as such and moves with it,
    /// others by their absolute path.
    pub stripes: Vec<PathBuf>,
    /// Whether rows may hold codes that are not numbers.
    pub allow_nan: bool,
    /// Whether many rows in sequence may be zero, as where a download is not complete.
    pub allow_zeros: bool,
    /// Ends the build; it can be resumed as one that was killed.
    pub stop: Stop,
}

/// What a build did.
#[derive(Debug, Clone, Serialize)]
pub struct BuildReport {
    /// Rows of all tables.
    pub rows: u64,
    /// Rows of padding at the end of the checkpoint's tables, which the pack leaves out.
    pub padding_rows: u64,
    /// Shards of the pack.
    pub shards: usize,
    /// Shards that an earlier build had finished.
    pub shards_resumed: usize,
    /// Row bytes read from the checkpoint now.
    pub bytes_read: u64,
    /// Shard bytes written now.
    pub bytes_written: u64,
    /// Wall-clock time.
    pub seconds: f64,
    /// What the checkpoint's owner should know though it is no fault.
    pub notes: Vec<String>,
}

/// Bytes that a build of `checkpoint` reads, for progress.
pub fn source_bytes(checkpoint: &Checkpoint) -> u64 {
    let tables = checkpoint.tables.iter().zip(&checkpoint.scheme.layers);
    tables
        .map(|(table, layer)| layer.buckets.iter().sum::<u64>() * table.codec.row_bytes() as u64)
        .sum()
}

/// Builds the pack `pack` from `checkpoint`. `progress` counts row bytes.
///
/// # Errors
/// A folder, of the pack or of a stripe, that holds something else, a source that cannot be read, rows that are not
/// numbers or many of which are zero, or a drive that is full. What is finished stays, and `resume` goes on from there.
pub fn build(
    checkpoint: &Checkpoint,
    pack: &Path,
    options: &BuildOptions,
    progress: Progress<'_>,
) -> Result<BuildReport> {
    let start = Instant::now();
    let mut plan = draft(checkpoint, Storage::Packed);
    let Striping { stripes, outside } = Striping::new(checkpoint, pack, &options.stripes)?;
    plan.stripes = stripes;
    let digest = Digest::of(checked_text(&plan)?.as_bytes());
    let paths = shard_paths(pack, &plan, &BTreeMap::new())?;
    let jobs: Vec<ShardJob<'_>> = shard_jobs(checkpoint, paths, options).collect();
    let resumed = if options.resume && is_finished(pack) {
        check_finished(pack, &plan)?;
        end_stripes(&outside, digest)?;
        vec![true; jobs.len()]
    } else {
        let outside = outside.iter().map(PathBuf::as_path);
        let folders: Vec<&Path> = [pack].into_iter().chain(outside).collect();
        let claims = begin_build(&folders, digest, options)?;
        let resumed = finish(checkpoint, pack, plan, &jobs, options, progress);
        let resumed = resumed.with_context(|| {
            format!(
                "the build of {} is unfinished; run it again with --resume",
                pack.display()
            )
        })?;
        // The pack's first: without its mark it is whole, whatever is left in stripes.
        claims.into_iter().try_for_each(Claim::end)?;
        resumed
    };

    let new = || jobs.iter().zip(&resumed).filter(|(_, resumed)| !**resumed);
    Ok(BuildReport {
        rows: jobs.iter().map(|job| job.column.row_count).sum(),
        padding_rows: checkpoint.padding_rows(),
        shards: jobs.len(),
        shards_resumed: jobs.len() - new().count(),
        bytes_read: new().map(|(job, _)| job.row_bytes()).sum(),
        bytes_written: new().map(|(job, _)| job.shard_bytes()).sum(),
        seconds: start.elapsed().as_secs_f64(),
        notes: checkpoint.notes.clone(),
    })
}

/// Builds the shards that are missing, then writes the rest of the pack. For each job, returns whether
/// an earlier build had finished it.
fn finish(
    checkpoint: &Checkpoint,
    pack: &Path,
    mut manifest: Manifest,
    jobs: &[ShardJob<'_>],
    options: &BuildOptions,
    progress: Progress<'_>,
) -> Result<Vec<bool>> {
    let threads = if options.jobs == 0 {
        default_jobs()
    } else {
        options.jobs
    };
    space::check(jobs)?;
    let built = parallel::map(threads, jobs, |job| match job.finished()? {
        Some(digests) => {
            progress(job.row_bytes());
            anyhow::Ok((true, digests))
        }
        None => Ok((false, job.run(progress)?)),
    })?;
    let mut digests = built.iter().map(|&(_, digests)| digests);
    for table in &mut manifest.tables {
        let columns = table.shards.len();
        table.shards = digests.by_ref().take(columns).collect();
    }
    write_token_map(pack, checkpoint.token_map.as_ref())?;
    write_manifest(pack, &manifest)?;
    Ok(built.iter().map(|&(resumed, _)| resumed).collect())
}

/// Checks that the finished `pack` is what `plan` would give.
fn check_finished(pack: &Path, plan: &Manifest) -> Result<()> {
    ensure!(
        is_of_plan(read_manifest(pack)?, plan),
        "{} is a finished pack already, of another checkpoint or with other stripes",
        pack.display()
    );
    Ok(())
}

/// Whether a pack with the manifest `found` was built from `checkpoint`, as far as headers and sizes tell.
pub(crate) fn is_built_from(mut found: Manifest, checkpoint: &Checkpoint) -> bool {
    // Wherever its shards lie.
    found.stripes = None;
    is_of_plan(found, &draft(checkpoint, Storage::Packed))
}

fn is_of_plan(mut found: Manifest, plan: &Manifest) -> bool {
    for table in &mut found.tables {
        table.shards.fill(UNKNOWN);
    }
    &found == plan
}

/// The manifest without what only the rows can tell.
pub(crate) fn draft(checkpoint: &Checkpoint, storage: Storage) -> Manifest {
    let columns = match storage {
        Storage::Packed => checkpoint.scheme.column_count(),
        Storage::Attached { .. } => 0,
    };
    let tables = checkpoint.tables.iter().map(|table| Table {
        layer: table.layer,
        codec: table.codec,
        planes: table.planes.clone(),
        shards: vec![UNKNOWN; columns],
        samples: Vec::new(),
    });
    Manifest {
        scheme: checkpoint.scheme.clone(),
        token_map: checkpoint.token_map.as_ref().map(|map| TokenMapFile {
            entries: map.ids().len() as u64,
            digest: Digest::of(&map.to_bytes()),
        }),
        storage,
        sources: checkpoint.sources.clone(),
        stripes: None,
        tables: tables.collect(),
    }
}

pub(crate) fn write_token_map(pack: &Path, map: Option<&TokenMap>) -> Result<()> {
    if let Some(map) = map {
        publish_bytes(&pack.join(TOKEN_MAP_FILE), &map.to_bytes())?;
    }
    Ok(())
}

/// Writes the manifest, which makes the folder a pack.
pub(crate) fn write_manifest(pack: &Path, manifest: &Manifest) -> Result<()> {
    let text = checked_text(manifest)?;
    Ok(publish_bytes(&pack.join(MANIFEST_FILE), text.as_bytes())?)
}

/// The manifest's text, refused here if a reader would refuse it.
fn checked_text(manifest: &Manifest) -> Result<String> {
    let text = manifest.to_text();
    Manifest::from_text(text.as_bytes()).context("the pack would have no valid manifest")?;
    Ok(text)
}

fn shard_jobs<'a>(
    checkpoint: &'a Checkpoint,
    paths: Vec<Vec<PathBuf>>,
    options: &'a BuildOptions,
) -> impl Iterator<Item = ShardJob<'a>> {
    let tables = checkpoint.tables.iter().zip(paths).enumerate();
    tables.flat_map(move |(index, (table, paths))| {
        let columns = checkpoint.scheme.columns(index).zip(paths);
        columns.map(move |(column, path)| ShardJob {
            checkpoint,
            path,
            table,
            column,
            options,
        })
    })
}
