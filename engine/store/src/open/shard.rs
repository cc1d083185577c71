//! One shard of a packed pack.

use std::path::Path;

use engram_format::{Column, HEADER_BYTES, Table};
use engram_io::{Access, Io, MemoryReader, ReadAt};

use super::{
    files::{check_size, in_file},
    share,
};
use crate::{
    config::{Config, Reader},
    error::OpenError,
    tier::ResidentShard,
};

/// One shard to be opened.
pub(super) struct Shard<'a> {
    pub(super) table: &'a Table,
    pub(super) column: Column,
    pub(super) path: &'a Path,
    pub(super) resident: bool,
}

/// A shard that has been opened and checked.
pub(super) enum OpenShard {
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

    /// Opens the shard, and checks its size and header.
    pub(super) fn open(&self, config: &Config) -> Result<OpenShard, OpenError> {
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
