//! The shards of a packed or cold pack.

use std::sync::Arc;

use engram_format::{Column, Manifest, Profile};
use engram_io::parallel;

use super::{
    files::{PackFiles, open_each},
    made_files::MadeFiles,
    opened::Opened,
    resident,
    shard::{OpenShard, Shard},
};
use crate::{
    cold::ColdFile,
    config::{Config, Reader},
    error::OpenError,
};

/// Threads that load columns.
const LOADERS: usize = 8;

/// The shards of the open `columns` of all tables, those marked that are to be loaded beside a cache of `cache_bytes`
/// bytes. Of a cold pack, each has its `frames`.
pub(super) fn shards<'a>(
    manifest: &'a Manifest,
    columns: &[Arc<[Column]>],
    files: &'a PackFiles,
    frames: Option<&'a [ColdFile]>,
    config: &Config,
    cache_bytes: usize,
    profile: Option<&Profile>,
) -> Vec<Shard<'a>> {
    let tables = manifest.tables.iter().zip(columns).enumerate();
    let shards = tables.flat_map(|(index, (table, columns))| {
        let columns = columns.iter();
        columns.map(move |&column| (index, table, column))
    });
    let mut shards: Vec<Shard<'_>> = shards
        .zip(&*files.paths)
        .map(|((table_index, table, column), path)| Shard {
            table_index,
            table,
            column,
            path,
            frames: None,
            resident: config.reader == Reader::Memory,
        })
        .collect();
    for (shard, frames) in shards.iter_mut().zip(frames.unwrap_or_default()) {
        shard.frames = Some(frames);
    }
    resident::choose(&mut shards, manifest, config.resident, cache_bytes, profile);
    shards
}

/// Opens all shards, several at a time, since loading one waits for the drive.
pub(super) fn open(
    columns: &[Arc<[Column]>],
    shards: &[Shard<'_>],
    config: &Config,
    made_files: &MadeFiles,
) -> Result<Opened, OpenError> {
    let loaded = shards.iter().filter(|shard| shard.resident).count();
    let opened = match loaded.min(LOADERS) {
        0 => open_each(shards, |shard| shard.open(config, made_files)),
        threads => parallel::map(threads, shards, |shard| shard.open(config, made_files)),
    }?;
    let mut files = Vec::with_capacity(opened.len());
    let mut resident = Vec::with_capacity(opened.len());
    for shard in opened {
        let (file, loaded) = match shard {
            OpenShard::Resident(loaded) => (None, Some(loaded)),
            OpenShard::File(file) => (Some(file), None),
            OpenShard::Fetched => (None, None),
        };
        files.push(file);
        resident.push(loaded);
    }
    let mut resident = resident.into_iter();
    let tables = columns.iter();
    Ok(Opened {
        files: files.into(),
        resident: tables
            .map(|columns| resident.by_ref().take(columns.len()).collect())
            .collect(),
    })
}
