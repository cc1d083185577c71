//! The shards of a packed pack.

use engram_format::{Manifest, Profile};
use engram_io::parallel;

use super::{
    files::{PackFiles, open_each},
    opened::Opened,
    resident,
    shard::{OpenShard, Shard},
};
use crate::{
    config::{Config, Reader},
    error::OpenError,
};

/// Threads that load columns.
const LOADERS: usize = 8;

/// Opens all shards, several at a time, since loading one waits for the drive.
pub(super) fn open(
    manifest: &Manifest,
    files: &PackFiles,
    config: &Config,
    profile: Option<&Profile>,
) -> Result<Opened, OpenError> {
    let tables = manifest.tables.iter().enumerate();
    let shards = tables.flat_map(|(index, table)| {
        let columns = manifest.scheme.columns(index);
        columns.map(move |column| (table, column))
    });
    let mut shards: Vec<Shard<'_>> = shards
        .zip(&*files.paths)
        .map(|((table, column), path)| Shard {
            table,
            column,
            path,
            resident: config.reader == Reader::Memory,
        })
        .collect();
    resident::choose(&mut shards, manifest, config, profile);
    let loaded = shards.iter().filter(|shard| shard.resident).count();
    let opened = match loaded.min(LOADERS) {
        0 => open_each(&shards, |shard| shard.open(config)),
        threads => parallel::map(threads, &shards, |shard| shard.open(config)),
    }?;
    let mut readers = Vec::with_capacity(opened.len());
    let mut resident = Vec::with_capacity(opened.len());
    for shard in opened {
        let (reader, loaded) = match shard {
            OpenShard::Resident(loaded) => (None, Some(loaded)),
            OpenShard::Reader(reader) => (Some(reader), None),
            OpenShard::Fetched => (None, None),
        };
        readers.push(reader);
        resident.push(loaded);
    }
    let mut resident = resident.into_iter();
    let tables = manifest.tables.iter();
    Ok(Opened {
        readers: readers.into(),
        resident: tables
            .map(|table| resident.by_ref().take(table.shards.len()).collect())
            .collect(),
    })
}
