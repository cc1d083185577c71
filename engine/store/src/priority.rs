//! Whose reads go first.

use std::{fmt, str::FromStr};

use thiserror::Error;

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

    /// Its name, which is also its text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Prefill => "prefill",
            Self::Warm => "warm",
        }
    }

    /// That of a batch of `rows` rows, where its caller does not say.
    pub fn of_rows(rows: usize) -> Self {
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
        f.write_str(self.as_str())
    }
}

/// A word that names no [`Priority`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{found}` is no priority, expected decode, prefill or warm")]
pub struct UnknownPriority {
    /// The word.
    pub found: String,
}

impl FromStr for Priority {
    type Err = UnknownPriority;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|known| known.as_str() == word);
        named.ok_or_else(|| UnknownPriority { found: word.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for priority in Priority::ALL {
            assert_eq!(priority.to_string().parse(), Ok(priority));
        }
        let refused = "Decode".parse::<Priority>().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`Decode` is no priority, expected decode, prefill or warm"
        );
    }
}
