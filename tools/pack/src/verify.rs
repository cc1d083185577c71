//! Reads a whole pack and names every record that is damaged.

mod samples;
mod shard;
mod spread;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Result, ensure};
use engram::read_manifest;
use engram_format::{Digest, Manifest, Storage, TOKEN_MAP_FILE, TokenMapFile};
use engram_io::{PreadReader, ReadAt, parallel};
use engram_kit::parallel::default_jobs;
use serde::Serialize;

use crate::Progress;
use samples::verify_samples;
use shard::ShardCheck;
use spread::check_percent;

/// What is verified.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// Threads; 0 for a few.
    pub jobs: usize,
    /// Percentage of the records to read, evenly spread; all of them and the digests if not given. Of
    /// an attached pack, only the known rows are read, or this percentage of them.
    pub sample: Option<f64>,
    /// Folder of the checkpoint behind an attached pack, where it has moved.
    pub checkpoint: Option<PathBuf>,
}

/// Consecutive records of a shard that are damaged in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// File in the pack's folder.
    pub file: String,
    /// Row id of the first damaged record, where it is a record.
    pub row: Option<u64>,
    /// Records; 0 if the damage is elsewhere in the file.
    pub records: u64,
    /// Offset in the file.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

/// What a verification found.
#[derive(Debug, Clone, Serialize)]
pub struct VerifyReport {
    /// Records read.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Wall-clock time.
    pub seconds: f64,
    /// Everything damaged, by file and offset.
    pub damage: Vec<Damage>,
}

#[derive(Default)]
struct Findings {
    records: u64,
    bytes: u64,
    damage: Vec<Damage>,
}

/// Verifies the pack in the folder `pack`. `progress` counts bytes of [`pack_bytes`].
///
/// # Errors
/// A manifest that cannot be read, or a percentage out of its range; all other damage is in the report.
pub fn verify(
    pack: &Path,
    options: &VerifyOptions,
    progress: Progress<'_>,
) -> Result<VerifyReport> {
    let start = Instant::now();
    options.sample.map_or(Ok(()), check_percent)?;
    let manifest = read_manifest(pack)?;
    let of_token_map = verify_token_map(pack, &manifest);
    let mut findings = match &manifest.storage {
        Storage::Packed => verify_shards(pack, &manifest, options, progress)?,
        // Without its token map the pack does not open.
        Storage::Attached { .. } if of_token_map.is_some() => Findings::default(),
        Storage::Attached { checkpoint } => verify_samples(pack, &manifest, checkpoint, options),
    };
    findings.damage.extend(of_token_map);
    Ok(VerifyReport {
        records: findings.records,
        bytes: findings.bytes,
        seconds: start.elapsed().as_secs_f64(),
        damage: findings.damage,
    })
}

/// Bytes of all shards.
pub fn pack_bytes(manifest: &Manifest) -> u64 {
    let tables = manifest.tables.iter().enumerate();
    tables
        .flat_map(|(index, table)| {
            let shards = manifest.scheme.columns(index).take(table.shards.len());
            shards.map(|column| table.layout().shard_bytes(column.row_count))
        })
        .sum()
}

fn verify_shards(
    pack: &Path,
    manifest: &Manifest,
    options: &VerifyOptions,
    progress: Progress<'_>,
) -> Result<Findings> {
    let shards: Vec<ShardCheck<'_>> = (manifest.tables.iter().enumerate())
        .flat_map(|(index, table)| {
            manifest
                .scheme
                .columns(index)
                .map(move |column| ShardCheck {
                    pack,
                    table,
                    column,
                    sample: options.sample,
                })
        })
        .collect();
    let threads = if options.jobs == 0 {
        default_jobs()
    } else {
        options.jobs
    };
    let found = parallel::map(threads, &shards, |shard| anyhow::Ok(shard.run(progress)))?;
    Ok(found
        .into_iter()
        .fold(Findings::default(), |mut all, shard| {
            all.records += shard.records;
            all.bytes += shard.bytes;
            all.damage.extend(shard.damage);
            all
        }))
}

fn verify_token_map(pack: &Path, manifest: &Manifest) -> Option<Damage> {
    let file = manifest.token_map.as_ref()?;
    let error = check_token_map(&pack.join(TOKEN_MAP_FILE), file).err()?;
    Some(Damage {
        file: TOKEN_MAP_FILE.into(),
        row: None,
        records: 0,
        offset: 0,
        what: format!("{error:#}"),
    })
}

fn check_token_map(path: &Path, file: &TokenMapFile) -> Result<()> {
    let reader = PreadReader::open_sequential(path)?;
    let (size, expected) = (reader.size(), 4 * file.entries);
    ensure!(
        size == expected,
        "size is {size} bytes, expected {expected}"
    );
    // A checked manifest names at most 64 MiB.
    let mut bytes = vec![0; usize::try_from(size)?];
    reader.read_at(0, &mut bytes)?;
    let found = Digest::of(&bytes);
    ensure!(
        found == file.digest,
        "digest is {found}, the manifest says {}",
        file.digest
    );
    Ok(())
}
