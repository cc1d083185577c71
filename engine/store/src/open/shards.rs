//! The shards of a packed pack.

use std::{
    fs::File,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use engram_format::{Column, HEADER_BYTES, Manifest, Profile, Table, shard_path};
use engram_io::{IoError, MemoryReader, MmapReader, NewFile, PreadReader, ReadAt, create_folder};

use super::{check_size, in_file, open_reader, resident};
use crate::{
    config::{Config, Reader},
    error::OpenError,
    rows::{Rows, SealedRows, Shard, ShardReader},
};

/// Threads that load columns.
const LOADERS: usize = 8;

/// Bytes copied at a time.
const COPY_BYTES: usize = 4 << 20;

/// One shard to be opened.
pub(super) struct Job<'a> {
    pub(super) table: &'a Table,
    pub(super) column: Column,
    pub(super) resident: bool,
}

impl Job<'_> {
    /// Size of the shard.
    pub(super) fn bytes(&self) -> u64 {
        self.table.layout().shard_bytes(self.column.row_count)
    }
}

pub(super) fn open(
    pack: &Path,
    manifest: &Manifest,
    config: &Config,
    profile: Option<&Profile>,
) -> Result<Vec<Rows>, OpenError> {
    let tables = manifest.tables.iter().enumerate();
    let mut jobs: Vec<Job<'_>> = tables
        .flat_map(|(index, table)| {
            manifest.scheme.columns(index).map(move |column| Job {
                table,
                column,
                resident: config.reader == Reader::Memory,
            })
        })
        .collect();
    resident::choose(&mut jobs, manifest, config, profile);
    let mut shards = open_all(pack, &jobs, config)?.into_iter();
    let tables = manifest.tables.iter().map(|table| {
        Rows::Sealed(SealedRows {
            layer: table.layer,
            layout: table.layout(),
            shards: shards.by_ref().take(table.shards.len()).collect(),
        })
    });
    Ok(tables.collect())
}

/// Opens all shards, several at a time, since loading one waits for the drive.
fn open_all(pack: &Path, jobs: &[Job<'_>], config: &Config) -> Result<Vec<Shard>, OpenError> {
    let loaded = jobs.iter().filter(|job| job.resident).count();
    let next = AtomicUsize::new(0);
    let opened = Mutex::new(Vec::with_capacity(jobs.len()));
    let work = || {
        while let Some((index, job)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            jobs.get(index).map(|job| (index, job))
        } {
            let shard = open_shard(pack, job, config);
            let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
            opened.push((index, shard));
        }
    };
    thread::scope(|scope| {
        // Without anything to load, opening takes less time than starting a thread.
        for _ in 1..loaded.min(LOADERS) {
            scope.spawn(work);
        }
        work();
    });
    let mut opened = opened.into_inner().unwrap_or_else(PoisonError::into_inner);
    opened.sort_unstable_by_key(|&(index, _)| index);
    opened.into_iter().map(|(_, shard)| shard).collect()
}

fn open_shard(pack: &Path, job: &Job<'_>, config: &Config) -> Result<Shard, OpenError> {
    let Job { table, column, .. } = job;
    let path = pack.join(shard_path(table.layer, column));
    // Mapping an empty file fails; reading its size does not.
    check_size(&path, job.bytes())?;
    let mut block = [0; HEADER_BYTES];
    let reader = if job.resident {
        match &config.resident_folder {
            None => {
                let memory = MemoryReader::open(&path)?;
                memory.read_at(0, &mut block)?;
                ShardReader::Memory(memory)
            }
            Some(folder) => {
                let shared = share(&path, folder, job)?;
                shared.read_at(0, &mut block)?;
                ShardReader::Other(Box::new(shared))
            }
        }
    } else {
        let opened = open_reader(&path, config.reader)?;
        opened.read_at(0, &mut block)?;
        if config.reader.is_direct() {
            ShardReader::Disk
        } else {
            ShardReader::Other(opened)
        }
    };
    table
        .header(*column)
        .check(&block)
        .map_err(in_file(&path))?;
    Ok(Shard { path, reader })
}

/// Maps the copy of a shard in `folder`, which is made if no process has done so.
fn share(path: &Path, folder: &Path, job: &Job<'_>) -> Result<MmapReader, OpenError> {
    let Job { table, column, .. } = job;
    let bytes = job.bytes();
    // The digest of its contents tells it from the shards of every other pack.
    let digest = table.shards[column.index as usize].data;
    let copy = folder.join(format!("engram-{digest}.shard"));
    create_folder(folder)?;
    let lock_path = copy.with_extension("lock");
    let lock = File::create(&lock_path).map_err(IoError::os("create", &lock_path))?;
    lock.lock().map_err(IoError::os("lock", &lock_path))?;
    if !copy.exists() {
        let source = PreadReader::open_sequential(path)?;
        let mut new = NewFile::create(&copy, bytes)?;
        let mut chunk = vec![0; COPY_BYTES];
        let mut offset = 0;
        while offset < bytes {
            let len =
                usize::try_from(bytes - offset).map_or(COPY_BYTES, |left| left.min(COPY_BYTES));
            source.read_at(offset, &mut chunk[..len])?;
            new.write(&chunk[..len])?;
            offset += len as u64;
        }
        new.publish()?;
    }
    check_size(&copy, bytes)?;
    Ok(MmapReader::open(&copy)?)
}
