//! One shard of a packed or cold pack.

use std::path::Path;

use engram_format::{Column, Digest, HEADER_BYTES, Table};
use engram_io::{Access, Io, MemoryReader, ReadAt};

use super::{
    files::{check_size, in_file},
    made_files::MadeFiles,
    share::{self, Original},
};
use crate::{
    cold::{self, ColdFile},
    config::{Config, Reader},
    error::OpenError,
    tier::TierFile,
};

/// One shard to be opened.
pub(super) struct Shard<'a> {
    /// Index of its table.
    pub(super) table_index: usize,
    pub(super) table: &'a Table,
    pub(super) column: Column,
    pub(super) path: &'a Path,
    /// Of a cold pack, where its rows are; they have been checked.
    pub(super) frames: Option<&'a ColdFile>,
    pub(super) resident: bool,
}

/// A shard that has been opened and checked.
pub(super) enum OpenShard {
    Resident(MemoryReader),
    File(TierFile),
    /// Its rows are fetched from the backing.
    Fetched,
}

impl Shard<'_> {
    /// Size of the shard in bytes; of a cold one, when it is in memory.
    pub(super) fn bytes(&self) -> u64 {
        self.table.layout().shard_bytes(self.column.row_count)
    }

    /// Whether it is to be loaded, and no shared copy of it has been.
    pub(super) fn takes_memory(&self, config: &Config) -> bool {
        let folder = config.resident_folder.as_deref();
        let has_copy = folder.is_some_and(|at| share::has_copy(at, self.digest(), self.bytes()));
        self.resident && !has_copy
    }

    fn digest(&self) -> Digest {
        self.table.shards[self.column.index as usize].data
    }

    /// Opens the shard, and checks its size and header.
    pub(super) fn open(
        &self,
        config: &Config,
        made_files: &MadeFiles,
    ) -> Result<OpenShard, OpenError> {
        let io = &*config.file_access;
        if let Some(frames) = self.frames {
            return if self.resident {
                Ok(OpenShard::Resident(cold::load(frames)?))
            } else {
                Ok(OpenShard::Fetched)
            };
        }
        if self.resident {
            return match &config.resident_folder {
                None => {
                    let file = io.open(self.path, Access::Sequential)?;
                    self.check(self.path, &*file)?;
                    let memory = MemoryReader::load(self.path, &*file)?;
                    Ok(OpenShard::Resident(memory))
                }
                Some(folder) => Ok(OpenShard::File(self.open_copy(io, folder, made_files)?)),
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
        self.check(self.path, &*reader)?;
        Ok(if config.reader.is_direct() {
            OpenShard::Fetched
        } else {
            OpenShard::File(TierFile { reader, copy: None })
        })
    }

    fn open_copy(
        &self,
        io: &dyn Io,
        folder: &Path,
        made_files: &MadeFiles,
    ) -> Result<TierFile, OpenError> {
        check_size(self.path, self.bytes())?;
        let original = Original {
            path: self.path,
            digest: self.digest(),
            bytes: self.bytes(),
            check: &|path, reader| self.check(path, reader),
        };
        let (reader, copy) = share::map_copy(io, &original, folder, made_files)?;
        Ok(TierFile {
            reader,
            copy: Some(copy),
        })
    }

    /// Checks size and header of the file at `path`, the shard or a copy.
    fn check(&self, path: &Path, reader: &dyn ReadAt) -> Result<(), OpenError> {
        check_size(path, self.bytes())?;
        let mut block = [0; HEADER_BYTES];
        reader.read_at(0, &mut block)?;
        let header = self.table.header(self.column);
        header.check(&block).map_err(in_file(path))
    }
}
