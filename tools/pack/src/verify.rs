//! Reads a whole pack and names every record that is damaged.

mod cold;
mod flaw;
mod samples;
mod shard;
mod spread;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Result;
use engram::{read_manifest, shard_paths};
use engram_format::{Digest, Manifest, RowId, Storage, TOKEN_MAP_FILE, TokenMapFile};
use engram_io::{PreadReader, ReadAt, parallel};
use engram_kit::parallel::default_jobs;
use serde::Serialize;

use crate::{Progress, Stop, freeze::columns};
use cold::ColdCheck;
use flaw::Flaw;
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
    /// Folders of stripes that have moved.
    pub stripes: BTreeMap<u32, PathBuf>,
    /// Ends the verification.
    pub stop: Stop,
}

/// A place of a pack where something is wrong: consecutive records with the same flaw, or a part of a file without any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// File in the pack's folder; of a stripe elsewhere and of an attached pack, path of the file.
    pub file: String,
    /// Row id of the first record, where it is a record.
    pub row: Option<u64>,
    /// Records; 0 if the place is elsewhere in the file.
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
    pub damage: Vec<Place>,
    /// What could not be read, such as for want of rights or of open files, and may be sound.
    pub unread: Vec<Place>,
}

#[derive(Default)]
struct Findings {
    records: u64,
    bytes: u64,
    damage: Vec<Place>,
    unread: Vec<Place>,
}

impl Findings {
    /// Adds a part of `file` that has no records.
    fn add(&mut self, file: String, offset: u64, flaw: Flaw) {
        let (places, what) = self.places(flaw);
        places.push(Place {
            file,
            row: None,
            records: 0,
            offset,
            what,
        });
    }

    /// Adds the record of `row` in `file`.
    fn add_record(&mut self, file: String, row: RowId, offset: u64, flaw: Flaw) {
        self.add_records(file, row, 1, offset, flaw);
    }

    /// Adds `records` records from that of `row` on in `file`.
    fn add_records(&mut self, file: String, row: RowId, records: u64, offset: u64, flaw: Flaw) {
        let (places, what) = self.places(flaw);
        if let Some(last) = places.last_mut()
            && (last.file == file && last.what == what)
            && last.row.is_some_and(|first| first + last.records == row.0)
        {
            last.records += records;
            return;
        }
        places.push(Place {
            file,
            row: Some(row.0),
            records,
            offset,
            what,
        });
    }

    fn places(&mut self, flaw: Flaw) -> (&mut Vec<Place>, String) {
        match flaw {
            Flaw::Damaged(what) => (&mut self.damage, what),
            Flaw::Unread(what) => (&mut self.unread, what),
        }
    }

    fn is_empty(&self) -> bool {
        self.damage.is_empty() && self.unread.is_empty()
    }
}

/// Verifies the pack in the folder `pack`. `progress` counts bytes of [`pack_bytes`].
///
/// # Errors
/// A manifest that cannot be read, a percentage out of its range, a moved stripe that the pack has not, or being
/// stopped; all else that is wrong is in the report.
pub fn verify(
    pack: &Path,
    options: &VerifyOptions,
    progress: Progress<'_>,
) -> Result<VerifyReport> {
    let start = Instant::now();
    options.sample.map_or(Ok(()), check_percent)?;
    let manifest = read_manifest(pack)?;
    let token_map = check_token_map(&pack.join(TOKEN_MAP_FILE), manifest.token_map.as_ref());
    let mut findings = match &manifest.storage {
        Storage::Packed => verify_shards(pack, &manifest, options, progress)?,
        Storage::Cold { .. } => verify_frames(pack, &manifest, options, progress)?,
        // Without its token map the pack does not open.
        Storage::Attached { .. } if token_map.is_err() => Findings::default(),
        Storage::Attached { checkpoint } => verify_samples(pack, &manifest, checkpoint, options),
    };
    options.stop.check()?;
    if let Err(flaw) = token_map {
        findings.add(TOKEN_MAP_FILE.into(), 0, flaw);
    }
    Ok(VerifyReport {
        records: findings.records,
        bytes: findings.bytes,
        seconds: start.elapsed().as_secs_f64(),
        damage: findings.damage,
        unread: findings.unread,
    })
}

/// Bytes of all shards, packed or cold.
pub fn pack_bytes(manifest: &Manifest) -> u64 {
    if let Storage::Cold { tables } = &manifest.storage {
        let shards = tables.iter().flat_map(|table| &table.shards);
        return shards.map(|shard| shard.bytes).sum();
    }
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
    let paths = shard_paths(pack, manifest, &options.stripes)?;
    let tables = manifest.tables.iter().zip(paths).enumerate();
    let shards: Vec<ShardCheck<'_>> = tables
        .flat_map(|(index, (table, paths))| {
            let columns = manifest.scheme.columns(index).zip(paths);
            columns.map(move |(column, path)| ShardCheck {
                pack,
                path,
                table,
                column,
                sample: options.sample,
                stop: &options.stop,
            })
        })
        .collect();
    each(&shards, options.jobs, |shard| shard.run(progress))
}

fn verify_frames(
    pack: &Path,
    manifest: &Manifest,
    options: &VerifyOptions,
    progress: Progress<'_>,
) -> Result<Findings> {
    let paths = shard_paths(pack, manifest, &options.stripes)?;
    let paths = paths.into_iter().flatten();
    let files: Vec<ColdCheck<'_>> = columns(manifest)
        .zip(paths)
        .map(|((_, column), path)| ColdCheck {
            pack,
            path,
            column,
            sample: options.sample,
            stop: &options.stop,
        })
        .collect();
    each(&files, options.jobs, |file| file.run(progress))
}

/// Verifies all `shards` with `jobs` threads.
fn each<S: Sync>(
    shards: &[S],
    jobs: usize,
    run: impl Fn(&S) -> Findings + Sync,
) -> Result<Findings> {
    let threads = match jobs {
        0 => default_jobs(),
        jobs => jobs,
    };
    let found = parallel::map(threads, shards, |shard| anyhow::Ok(run(shard)))?;
    Ok(found
        .into_iter()
        .fold(Findings::default(), |mut all, shard| {
            all.records += shard.records;
            all.bytes += shard.bytes;
            all.damage.extend(shard.damage);
            all.unread.extend(shard.unread);
            all
        }))
}

fn check_token_map(path: &Path, file: Option<&TokenMapFile>) -> Result<(), Flaw> {
    let Some(file) = file else {
        return Ok(());
    };
    let reader = PreadReader::open_sequential(path).map_err(|error| Flaw::from(&error))?;
    let (size, expected) = (reader.size(), 4 * file.entries);
    if size != expected {
        return Err(Flaw::Damaged(format!(
            "size is {size} bytes, expected {expected}"
        )));
    }
    // A checked manifest names at most 64 MiB.
    let mut bytes = vec![0; usize::try_from(size).expect("it is below 2^27")];
    reader
        .read_at(0, &mut bytes)
        .map_err(|error| Flaw::from(&error))?;
    let (found, expected) = (Digest::of(&bytes), file.digest);
    if found != expected {
        return Err(Flaw::Damaged(format!(
            "digest is {found}, the manifest says {expected}"
        )));
    }
    Ok(())
}
