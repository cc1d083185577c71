//! Makes the packed pack again that a cold one was made of.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use engram::{read_hasher, read_manifest, shard_paths};
use engram_cold::{ColdFile, FrameBuffer};
use engram_format::{
    ColdColumn, Digest, Digester, FormatError, HEADER_BYTES, Manifest, ShardDigests, Storage,
};
use engram_io::{NewFile, PreadReader, ReadAt, parallel};
use engram_kit::parallel::default_jobs;
use serde::Serialize;

use crate::{
    Progress, Stop,
    build::{
        Striping, begin_of_pack, end_stripes, is_finished, space, write_manifest, write_token_map,
    },
    claim::Claim,
    freeze::{columns, packed},
};

/// How a pack is thawed.
#[derive(Debug, Clone, Default)]
pub struct ThawOptions {
    /// Threads; 0 for a few.
    pub jobs: usize,
    /// Whether to go on with an unfinished pack.
    pub resume: bool,
    /// Folders that the shards are spread over, as [`BuildOptions::stripes`](crate::BuildOptions::stripes).
    pub stripes: Vec<PathBuf>,
    /// Ends the work; it can be resumed as if it was killed.
    pub stop: Stop,
}

/// What thawing did.
#[derive(Debug, Clone, Serialize)]
pub struct ThawReport {
    /// Rows of all tables.
    pub rows: u64,
    /// Shards of the pack.
    pub shards: usize,
    /// Shards that an earlier run had thawed.
    pub shards_resumed: usize,
    /// Shard bytes written now.
    pub bytes_written: u64,
    /// Wall-clock time.
    pub seconds: f64,
}

/// Makes the packed pack `pack` of the cold pack `cold`: the same bytes that were frozen, or with `stripes` the same
/// shards in their folders. `progress` counts bytes of the packed shards, [`thawed_bytes`] in all.
///
/// # Errors
/// A pack that is not cold, or has a damaged frame; a folder that holds something else; a drive without room. What is
/// finished stays, and `resume` goes on from there.
pub fn thaw(
    cold: &Path,
    pack: &Path,
    options: &ThawOptions,
    progress: Progress<'_>,
) -> Result<ThawReport> {
    let start = Instant::now();
    let frozen = read_manifest(cold)?;
    ensure!(
        matches!(frozen.storage, Storage::Cold { .. }),
        "{} is no cold pack, so there is nothing to thaw",
        cold.display()
    );
    let size = [frozen.tables.len(), frozen.scheme.column_count()];
    let Striping { stripes, outside } = Striping::new(size, pack, &options.stripes)?;
    let manifest = Manifest {
        stripes,
        ..packed(&frozen)
    };
    let from = shard_paths(cold, &frozen, &BTreeMap::new())?;
    let to = shard_paths(pack, &manifest, &BTreeMap::new())?;
    let paths = from.into_iter().flatten().zip(to.into_iter().flatten());
    let jobs: Vec<ShardJob<'_>> = columns(&frozen)
        .zip(paths)
        .map(|((_, column), (from, to))| ShardJob {
            column,
            from,
            to,
            stop: &options.stop,
        })
        .collect();
    let digest = Digest::of(manifest.to_text().as_bytes());
    let resumed = if options.resume && is_finished(pack) {
        ensure!(
            read_manifest(pack)? == manifest,
            "{} is a finished pack already, of other rows or with other stripes",
            pack.display()
        );
        end_stripes(&outside, digest)?;
        vec![true; jobs.len()]
    } else {
        let task = format!("{digest} thaw");
        let outside = outside.iter().map(PathBuf::as_path);
        let folders: Vec<&Path> = [pack].into_iter().chain(outside).collect();
        let claims = begin_of_pack(&folders, &task, options.resume)?;
        let resumed = finish(cold, pack, &manifest, &jobs, options, progress);
        let resumed = resumed.with_context(|| {
            format!(
                "thawing to {} is unfinished; run it again with --resume",
                pack.display()
            )
        })?;
        // The pack's first: without its mark it is whole, whatever is left in stripes.
        claims.into_iter().try_for_each(Claim::end)?;
        resumed
    };
    let new = || jobs.iter().zip(&resumed).filter(|(_, resumed)| !**resumed);
    Ok(ThawReport {
        rows: jobs
            .iter()
            .map(|job| job.column.header.column.row_count)
            .sum(),
        shards: jobs.len(),
        shards_resumed: jobs.len() - new().count(),
        bytes_written: new().map(|(job, _)| job.bytes()).sum(),
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// Bytes of the shards of the packed pack that a cold one was made of.
pub fn thawed_bytes(cold: &Manifest) -> u64 {
    let columns = columns(cold);
    columns
        .map(|(_, column)| column.layout().shard_bytes(column.header.column.row_count))
        .sum()
}

/// Makes the shards that are missing, then writes the rest of the pack. For each job, returns whether an earlier run
/// had finished it.
fn finish(
    cold: &Path,
    pack: &Path,
    manifest: &Manifest,
    jobs: &[ShardJob<'_>],
    options: &ThawOptions,
    progress: Progress<'_>,
) -> Result<Vec<bool>> {
    let token_map = read_hasher(cold)?;
    let wanted = jobs.iter();
    space::check(wanted.map(|job| (&*job.to, job.bytes())))?;
    let threads = match options.jobs {
        0 => default_jobs(),
        jobs => jobs,
    };
    let resumed = parallel::map(threads, jobs, |job| {
        if job.is_finished()? {
            progress(job.bytes());
            return anyhow::Ok(true);
        }
        job.run(progress)?;
        Ok(false)
    })?;
    write_token_map(pack, token_map.token_map())?;
    write_manifest(pack, manifest)?;
    Ok(resumed)
}

/// One shard to be made.
struct ShardJob<'a> {
    column: ColdColumn,
    /// The cold shard.
    from: PathBuf,
    /// Final path of the packed one.
    to: PathBuf,
    stop: &'a Stop,
}

impl ShardJob<'_> {
    /// Bytes of the packed shard.
    fn bytes(&self) -> u64 {
        let rows = self.column.header.column.row_count;
        self.column.layout().shard_bytes(rows)
    }

    /// Whether an earlier run has made it. It got its name only once it was whole and on the drive, so its header
    /// tells.
    fn is_finished(&self) -> Result<bool> {
        let path = &self.to;
        if !path.exists() {
            return Ok(false);
        }
        let context = || format!("{} is no shard of this pack; remove it", path.display());
        let reader = PreadReader::open(path)?;
        let (found, expected) = (reader.size(), self.bytes());
        if found != expected {
            return Err(FormatError::Size { found, expected }).with_context(context);
        }
        let mut block = [0; HEADER_BYTES];
        reader.read_at(0, &mut block)?;
        self.column.header.check(&block).with_context(context)?;
        Ok(true)
    }

    fn run(&self, progress: Progress<'_>) -> Result<()> {
        let reader = PreadReader::open_sequential(&self.from)?;
        let cold = ColdFile::open(&self.from, Box::new(reader), self.column)?;
        let mut file = NewFile::create(&self.to, self.bytes())?;
        let header = self.column.header;
        file.write(&header.encode())?;
        progress(HEADER_BYTES as u64);
        let (mut buffer, mut records) = (FrameBuffer::default(), Vec::new());
        let (mut of_data, mut of_rows) = (Digester::new(), Digester::new());
        for frame in 0..self.column.frames() {
            self.stop.check()?;
            of_rows.update(cold.read(frame, &mut buffer, &mut records)?);
            of_data.update(&records);
            file.write(&records)?;
            progress(records.len() as u64);
        }
        let found = ShardDigests {
            data: of_data.finish(),
            rows: of_rows.finish(),
        };
        ensure!(
            found == header.digests,
            "{}: its rows have the digests {} and {}, the manifest says {} and {}; run `engram-pack verify`",
            self.from.display(),
            found.data,
            found.rows,
            header.digests.data,
            header.digests.rows
        );
        Ok(file.publish()?)
    }
}
