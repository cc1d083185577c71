//! The shards of a packed pack.

use std::path::Path;

use engram_format::{Column, HEADER_BYTES, Manifest, Profile, Table};
use engram_io::{Access, Io, MemoryReader, ReadAt, parallel};

use super::{
    Opened,
    files::{PackFiles, check_size, in_file},
    resident, share,
};
use crate::{
    config::{Config, Reader},
    error::OpenError,
    tier::ResidentShard,
};

/// Threads that load columns.
const LOADERS: usize = 8;

/// One shard to be opened.
pub(super) struct Shard<'a> {
    pub(super) table: &'a Table,
    pub(super) column: Column,
    path: &'a Path,
    pub(super) resident: bool,
}

/// A shard that has been opened and checked.
enum OpenShard {
    Resident(ResidentShard),
    Reader(Box<dyn ReadAt>),
    /// Its rows are fetched from the backing.
    Fetched,
}

impl Shard<'_> {
    /// Size of the shard in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.table.layout().shard_bytes(self.column.row_count)
    }

    fn open(&self, config: &Config) -> Result<OpenShard, OpenError> {
        let io = &*config.file_access;
        if self.resident {
            return match &config.resident_folder {
                None => {
                    let file = io.open(self.path, Access::Sequential)?;
                    self.check(&*file)?;
                    Ok(OpenShard::Resident(ResidentShard {
                        memory: MemoryReader::load(self.path, &*file)?,
                        first_row: self.column.first_row,
                    }))
                }
                Some(folder) => Ok(OpenShard::Reader(self.open_copy(io, folder)?)),
            };
        }
        if config.backing.is_some() {
            return Ok(OpenShard::Fetched);
        }
        let access = match config.reader {
            Reader::Mmap => Access::Mmap,
            Reader::Memory | Reader::Pread | Reader::Direct | Reader::DirectThreads => {
                Access::Pread
            }
        };
        // Mapping an empty file fails; reading its size does not.
        check_size(self.path, self.bytes())?;
        let reader = io.open(self.path, access)?;
        self.check(&*reader)?;
        Ok(if config.reader.is_direct() {
            OpenShard::Fetched
        } else {
            OpenShard::Reader(reader)
        })
    }

    fn open_copy(&self, io: &dyn Io, folder: &Path) -> Result<Box<dyn ReadAt>, OpenError> {
        check_size(self.path, self.bytes())?;
        let digest = self.table.shards[self.column.index as usize].data;
        let copy = share::map_copy(io, self.path, folder, digest, self.bytes())?;
        self.check(&*copy)?;
        Ok(copy)
    }

    /// Checks size and header.
    fn check(&self, reader: &dyn ReadAt) -> Result<(), OpenError> {
        check_size(self.path, self.bytes())?;
        let mut block = [0; HEADER_BYTES];
        reader.read_at(0, &mut block)?;
        let header = self.table.header(self.column);
        header.check(&block).map_err(in_file(self.path))
    }
}

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
    // Without anything to load, opening takes less time than starting a thread.
    let threads = loaded.clamp(1, LOADERS);
    let opened = parallel::map(threads, &shards, |shard| shard.open(config))?;
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
