//! How a pack is opened.

use std::path::PathBuf;

/// How the files of a pack are read. All readers return the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reader {
    /// Mapped into memory: the page cache serves what it holds, faults fetch the rest.
    #[default]
    Mmap,
    /// One system call a row, and no mapping.
    Pread,
    /// Loaded whole when the pack is opened.
    Memory,
}

/// Settings of an open pack.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How files are read.
    pub reader: Reader,
    /// Whether each row is checked against its seal; in an attached pack, whose rows have none,
    /// whether some known rows are when it is opened.
    pub check_seals: bool,
    /// Folder of the checkpoint behind an attached pack, where it has moved since.
    pub checkpoint: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            reader: Reader::default(),
            check_seals: true,
            checkpoint: None,
        }
    }
}

impl Config {
    /// Mapped files, seals checked.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses how files are read.
    #[must_use]
    pub fn reader(mut self, reader: Reader) -> Self {
        self.reader = reader;
        self
    }

    /// Chooses whether each row is checked against its seal.
    #[must_use]
    pub fn check_seals(mut self, check: bool) -> Self {
        self.check_seals = check;
        self
    }

    /// Says where the checkpoint behind an attached pack lies now.
    #[must_use]
    pub fn checkpoint(mut self, folder: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(folder.into());
        self
    }
}
