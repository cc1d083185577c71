//! Whose reads go first.

use std::fmt;

/// Whose reads go first where many want the drive.
///
/// Reads of a higher priority begin before those of a lower one that wait, whoever asked earlier; tickets of one
/// priority share the drive by turns. None is shut out: of the reads that begin, some are of each priority that waits.
/// While there are reads of a high priority, those of lower ones keep the drive only as busy as it takes to be nearly
/// as fast, so that a new read does not wait for all that are in flight already. `engine/decisions` says more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Rows for the next token of somebody who waits. Batches of up to 1,024 rows, where nothing else is said.
    #[default]
    Decode,
    /// Rows of a prompt. Larger batches, where nothing else is said.
    Prefill,
    /// Rows that nobody waits for, such as those of [`Store::warm`](crate::Store::warm) and of a profile.
    Warm,
}

/// Rows of the largest batch that is taken for a decode step where nobody says: 32 sequences of
/// DeepSeek-V4.1-Flash take 768 a layer.
const DECODE_ROWS: usize = 1_024;

impl Priority {
    /// The highest first.
    pub const ALL: [Self; 3] = [Self::Decode, Self::Prefill, Self::Warm];

    /// That of a batch of `rows` rows, where its caller does not say.
    pub(crate) fn of_batch(rows: usize) -> Self {
        if rows <= DECODE_ROWS {
            Self::Decode
        } else {
            Self::Prefill
        }
    }

    /// Its place in [`Self::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decode => "decode",
            Self::Prefill => "prefill",
            Self::Warm => "warm",
        })
    }
}
