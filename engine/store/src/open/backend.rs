//! What was chosen to read files, and what the system allowed.

use std::fmt;

use engram_io::EngineKind;

use crate::{config::Reader, fetch::Workers};

/// How an open pack's files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// Mapped into memory.
    Mmap,
    /// One system call a row.
    Pread,
    /// Loaded whole.
    Memory,
    /// Many reads at a time past the page cache.
    Direct {
        /// How they get to the drive.
        queue: EngineKind,
        /// Threads that read.
        threads: usize,
        /// Whether the file system reads past the page cache.
        past_page_cache: bool,
    },
}

impl Backend {
    pub(super) fn new(reader: Reader, workers: Option<&Workers>) -> Self {
        match (reader, workers) {
            (_, Some(workers)) => Self::Direct {
                queue: workers.queue,
                threads: workers.threads(),
                past_page_cache: workers.past_page_cache,
            },
            (Reader::Memory, None) => Self::Memory,
            (Reader::Pread, None) => Self::Pread,
            _ => Self::Mmap,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mmap => f.write_str("mmap"),
            Self::Pread => f.write_str("pread"),
            Self::Memory => f.write_str("memory"),
            Self::Direct {
                queue,
                threads,
                past_page_cache,
            } => {
                let plural = if *threads == 1 { "" } else { "s" };
                write!(f, "{queue}, {threads} thread{plural}")?;
                if !past_page_cache {
                    f.write_str(", through the page cache")?;
                }
                Ok(())
            }
        }
    }
}
