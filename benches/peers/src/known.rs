//! What is known of texts before a run, for those who prepare for it.

use anyhow::{Result, ensure};
use engram::{Hasher, RowIds, Sequence};
use engram_bench::mixed::{self, DECODED};

/// Tokens of each text, after those of the run, that a profile is taken of.
const OTHER_TOKENS: usize = 300_000;

/// What is known of a run.
#[derive(Debug, Clone, Copy)]
pub enum Known {
    /// Its very tokens.
    All,
    /// A longer part of the same texts that follows.
    Other,
}

impl Known {
    pub const BOTH: [Self; 2] = [Self::All, Self::Other];

    pub fn name(self) -> &'static str {
        match self {
            Self::All => "known",
            Self::Other => "other",
        }
    }

    /// The sequences of tokens that are known.
    pub fn sequences(self, tokens: &[u32], prefill: usize) -> Result<Vec<&[u32]>> {
        Ok(match self {
            Self::All => mixed::sequences(tokens, prefill).collect(),
            Self::Other => vec![other(tokens, prefill)?],
        })
    }

    /// Calls `each` with the rows of the tokens that are known.
    pub fn replay(
        self,
        hasher: &Hasher,
        tokens: &[u32],
        prefill: usize,
        mut each: impl FnMut(&RowIds) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::All => mixed::replay(hasher, tokens, prefill, |_, rows| each(rows)),
            Self::Other => {
                let (mut sequence, mut rows) = (Sequence::new(), RowIds::new());
                for chunk in other(tokens, prefill)?.chunks(512) {
                    hasher.extend(&mut sequence, chunk, &mut rows)?;
                    each(&rows)?;
                }
                Ok(())
            }
        }
    }
}

/// The tokens after those of the run.
fn other(tokens: &[u32], prefill: usize) -> Result<&[u32]> {
    let other = &tokens[tokens.len().min(prefill + DECODED)..];
    ensure!(!other.is_empty(), "a text ends with the run's tokens");
    Ok(&other[..other.len().min(OTHER_TOKENS)])
}
