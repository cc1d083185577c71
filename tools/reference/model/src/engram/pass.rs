//! The tokens of one pass, and their rows on the way.

use std::time::Duration;

use candle_core::Tensor;
use engram::DEAD;

use super::{Engram, coming::Coming};

/// Rows of one block and one pass that are on their way.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) coming: Coming,
    /// How long asking took.
    pub(super) took: Duration,
    /// `Session::blocked` when it had been done.
    pub(super) blocked: Duration,
}

/// The tokens of a pass and their rows.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// Tokens of each sequence before.
    pub(super) before: Vec<usize>,
    /// Of each sequence; image tokens are dead.
    pub(super) tokens: Vec<Vec<u32>>,
    /// One for each block that has not waited for its rows.
    pub(super) asked: Vec<Option<Asked>>,
}

impl Pass {
    pub(super) fn is_of(&self, before: &[usize], tokens: &[Vec<u32>]) -> bool {
        self.before == before && self.tokens == tokens
    }

    pub(super) fn counts(&self) -> Vec<usize> {
        self.tokens.iter().map(Vec::len).collect()
    }

    /// For each token that has rows its place in `[sequences, most tokens]`.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> + '_ {
        let most = self.most();
        self.tokens
            .iter()
            .enumerate()
            .flat_map(move |(sequence, tokens)| {
                let live = tokens
                    .iter()
                    .enumerate()
                    .filter(|(_, token)| **token != DEAD);
                live.map(move |(index, _)| sequence * most + index)
            })
    }

    pub(super) fn most(&self) -> usize {
        self.tokens.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Zero at dead positions, one elsewhere; none where no position is dead.
    pub(super) fn mask(&self, engram: &Engram) -> candle_core::Result<Option<Tensor>> {
        if !self.tokens.iter().flatten().any(|&token| token == DEAD) {
            return Ok(None);
        }
        let shape = (self.tokens.len(), self.most());
        let mut mask = vec![0.0_f32; shape.0 * shape.1];
        self.places().for_each(|place| mask[place] = 1.0);
        Tensor::from_vec(mask, shape, &engram.device).map(Some)
    }
}
