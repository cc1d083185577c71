//! From rows to frames.

use std::{fmt, ops::RangeInclusive};

use engram_format::{FramePlace, compressed_bound};
use xxhash_rust::xxh3::xxh3_64;
use zstd::zstd_safe::{CCtx, CDict, CParameter};

/// Levels of Zstandard that frames are made with, the fastest first.
pub const LEVELS: RangeInclusive<i32> = 1..=22;

/// Compresses frames of one column, one at a time.
pub struct Encoder {
    context: CCtx<'static>,
    dictionary: Option<CDict<'static>>,
    frame: Vec<u8>,
}

impl Encoder {
    /// Compresses at `level` with `dictionary`, which is empty for none.
    ///
    /// # Panics
    /// If the level is none of [`LEVELS`], or there is no memory.
    pub fn new(level: i32, dictionary: &[u8]) -> Self {
        assert!(LEVELS.contains(&level), "level {level}");
        let mut context = CCtx::create();
        let set = context.set_parameter(CParameter::CompressionLevel(level));
        set.expect("a level of Zstandard");
        Self {
            context,
            dictionary: (!dictionary.is_empty()).then(|| CDict::create(dictionary, level)),
            frame: Vec::new(),
        }
    }

    /// The frame of `rows`, the rows of a frame without padding and seals.
    ///
    /// # Panics
    /// If there is no memory.
    pub fn encode(&mut self, rows: &[u8]) -> &[u8] {
        let bound = usize::try_from(compressed_bound(rows.len() as u64));
        self.frame.resize(bound.expect("it lies in memory"), 0);
        let frame = &mut self.frame[..];
        let written = match &self.dictionary {
            None => self.context.compress2(frame, rows),
            Some(dictionary) => self.context.compress_using_cdict(frame, rows, dictionary),
        };
        let written = written.expect("memory, and room for what cannot be made smaller");
        &self.frame[..written]
    }

    /// What the index says of a frame at `offset`, the seals of whose rows have the digest `seals`.
    ///
    /// # Panics
    /// If it is no frame of this crate's.
    pub fn place(offset: u64, frame: &[u8], seals: u64) -> FramePlace {
        FramePlace {
            offset,
            len: u32::try_from(frame.len()).expect("a frame of some MiB"),
            checksum: xxh3_64(frame),
            seals,
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}
