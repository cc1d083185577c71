//! What was chosen to read files, and what the system allowed.

use std::fmt;

use engram_io::EngineKind;

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
        engine: EngineKind,
        /// Threads that read.
        threads: usize,
        /// Whether the file system reads past the page cache.
        past_page_cache: bool,
    },
    /// Rows are fetched by [`Config::backing`](crate::Config::backing).
    Custom,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mmap => f.write_str("mmap"),
            Self::Pread => f.write_str("pread"),
            Self::Memory => f.write_str("memory"),
            Self::Custom => f.write_str("a backing of the caller's"),
            Self::Direct {
                engine,
                threads,
                past_page_cache,
            } => {
                let plural = if *threads == 1 { "" } else { "s" };
                write!(f, "{engine}, {threads} thread{plural}")?;
                if !past_page_cache {
                    f.write_str(", through the page cache")?;
                }
                Ok(())
            }
        }
    }
}
