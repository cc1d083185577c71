//! Packs a checkpoint: one shard for each column, then the token map, then the manifest.
//!
//! Finished shards carry their final name and are on the drive, so a build that was stopped at any
//! point goes on with the missing ones and ends with the same bytes.

mod rows;
mod shard;
mod state;

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, Result, bail};
use engram_checkpoint::Checkpoint;
use engram_format::{
    Column, Digest, MANIFEST_FILE, Manifest, ShardDigests, Storage, TOKEN_MAP_FILE, Table,
    TokenMap, TokenMapFile,
};
use engram_io::publish_bytes;
use serde::Serialize;

use crate::{Progress, parallel};
use shard::ShardJob;
use state::BuildState;

pub(crate) use rows::RowStream;

/// How a pack is built.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// Threads; 0 for a few.
    pub jobs: usize,
    /// Whether to go on with an unfinished build in the pack's folder.
    pub resume: bool,
    /// Whether rows may hold codes that are not numbers.
    pub allow_nan: bool,
}

/// What a build did.
#[derive(Debug, Clone, Serialize)]
pub struct BuildReport {
    /// Rows of all tables.
    pub rows: u64,
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
/// A folder that holds something else, a source that cannot be read, rows that are not numbers, or a
/// drive that is full. What is finished stays, and `resume` goes on from there.
pub fn build(
    checkpoint: &Checkpoint,
    pack: &Path,
    options: &BuildOptions,
    progress: Progress<'_>,
) -> Result<BuildReport> {
    let start = Instant::now();
    let mut manifest = draft(checkpoint, Storage::Packed);
    let state = BuildState::begin(pack, &manifest, options.resume)?;
    let jobs: Vec<ShardJob<'_>> = shard_jobs(checkpoint, pack, options.allow_nan).collect();
    let threads = if options.jobs == 0 {
        parallel::default_jobs()
    } else {
        options.jobs
    };
    let built = parallel::map(threads, &jobs, |job| {
        let finished = job.finished()?;
        if finished.is_some() {
            progress(job.row_bytes());
        }
        anyhow::Ok((
            finished.is_some(),
            finished.map_or_else(|| job.run(progress), Ok)?,
        ))
    })
    .with_context(|| {
        format!(
            "the build of {} is unfinished; run it again with --resume",
            pack.display()
        )
    })?;

    let mut digests = built.iter().map(|&(_, digests)| digests);
    for table in &mut manifest.tables {
        let columns = table.shards.len();
        table.shards = digests.by_ref().take(columns).collect();
    }
    write_token_map(pack, checkpoint.token_map.as_ref())?;
    publish_bytes(&pack.join(MANIFEST_FILE), manifest.to_text().as_bytes())?;
    state.end()?;

    let new = || jobs.iter().zip(&built).filter(|(_, (resumed, _))| !resumed);
    Ok(BuildReport {
        rows: jobs.iter().map(|job| job.column.row_count).sum(),
        shards: jobs.len(),
        shards_resumed: jobs.len() - new().count(),
        bytes_read: new().map(|(job, _)| job.row_bytes()).sum(),
        bytes_written: new().map(|(job, _)| job.shard_bytes()).sum(),
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// The manifest without what only the rows can tell.
pub(crate) fn draft(checkpoint: &Checkpoint, storage: Storage) -> Manifest {
    let columns = match storage {
        Storage::Packed => checkpoint.scheme.column_count(),
        Storage::Attached { .. } => 0,
    };
    let unknown = ShardDigests {
        data: Digest(0),
        rows: Digest(0),
    };
    let tables = checkpoint.tables.iter().map(|table| Table {
        layer: table.layer,
        codec: table.codec,
        planes: table.planes.clone(),
        shards: vec![unknown; columns],
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
        tables: tables.collect(),
    }
}

/// Makes the folder of a new pack.
///
/// # Errors
/// A folder that is there and not empty.
pub(crate) fn new_folder(pack: &Path) -> Result<()> {
    fs::create_dir_all(pack)
        .with_context(|| format!("cannot create the folder {}", pack.display()))?;
    let mut entries =
        fs::read_dir(pack).with_context(|| format!("cannot list the folder {}", pack.display()))?;
    if entries.next().is_some() {
        bail!("the folder {} is not empty", pack.display());
    }
    Ok(())
}

pub(crate) fn write_token_map(pack: &Path, map: Option<&TokenMap>) -> Result<()> {
    if let Some(map) = map {
        publish_bytes(&pack.join(TOKEN_MAP_FILE), &map.to_bytes())?;
    }
    Ok(())
}

fn shard_jobs<'a>(
    checkpoint: &'a Checkpoint,
    pack: &'a Path,
    allow_nan: bool,
) -> impl Iterator<Item = ShardJob<'a>> {
    checkpoint
        .tables
        .iter()
        .enumerate()
        .flat_map(move |(index, table)| {
            let columns: Vec<Column> = checkpoint.scheme.columns(index).collect();
            columns.into_iter().map(move |column| ShardJob {
                checkpoint,
                pack,
                table,
                column,
                allow_nan,
            })
        })
}
