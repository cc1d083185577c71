//! What was chosen to read files, and what the system allowed.

use std::{fmt, sync::Arc};

use engram_io::EngineKind;

use crate::{backing::Drives, cold::ColdBacking, metrics::FrameMetrics};

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
        /// Threads that read; 0 in a process that was forked from the one that has them.
        threads: usize,
        /// Whether the file system reads past the page cache.
        past_page_cache: bool,
    },
    /// Frames of a cold pack, decompressed by threads that read them through the page cache.
    Frames {
        /// The threads; 0 in a process that was forked from the one that has them.
        threads: usize,
    },
    /// Rows are fetched by [`Config::backing`](crate::Config::backing).
    Custom,
}

/// What reads the files of an open pack.
#[derive(Debug)]
pub(crate) enum Reading {
    /// Always in this way.
    As(Backend),
    /// Threads, which take another way where the system no longer serves theirs.
    Disk(Arc<Drives>),
    /// Threads that decompress frames.
    #[cfg_attr(
        not(feature = "cold"),
        expect(dead_code, reason = "no cold pack is opened")
    )]
    Frames(Arc<ColdBacking>),
}

impl Reading {
    /// How files are read now.
    pub(crate) fn backend(&self) -> Backend {
        match self {
            Self::As(backend) => *backend,
            Self::Frames(backing) => Backend::Frames {
                threads: backing.threads(),
            },
            Self::Disk(disk) => Backend::Direct {
                engine: disk.kind(),
                threads: disk.threads(),
                past_page_cache: disk.past_page_cache(),
            },
        }
    }

    /// What has been done with frames.
    pub(crate) fn frames(&self) -> FrameMetrics {
        match self {
            Self::Frames(backing) => backing.metrics(),
            Self::As(_) | Self::Disk(_) => FrameMetrics::default(),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mmap => f.write_str("mmap"),
            Self::Pread => f.write_str("pread"),
            Self::Memory => f.write_str("memory"),
            Self::Custom => f.write_str("a backing of the caller's"),
            Self::Frames { threads } => {
                let plural = if *threads == 1 { "" } else { "s" };
                write!(
                    f,
                    "Zstandard frames, {threads} thread{plural}, through the page cache"
                )
            }
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
