//! The tokens of one pass.

use candle_core::{Device, Tensor};
use engram::DEAD;

/// The tokens of a pass.
#[derive(Debug, Default)]
pub(super) struct PassTokens {
    /// How many tokens each sequence had before.
    pub(super) before: Vec<usize>,
    /// The new tokens of each sequence, with [`DEAD`] for image tokens.
    pub(super) tokens: Vec<Vec<u32>>,
}

impl PassTokens {
    pub(super) fn is_of(&self, before: &[usize], tokens: &[Vec<u32>]) -> bool {
        self.before == before && self.tokens == tokens
    }

    pub(super) fn counts(&self) -> Vec<usize> {
        self.tokens.iter().map(Vec::len).collect()
    }

    /// The index in `[sequences, most tokens]` of each token that has rows.
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

    /// Tokens of the sequence that has most.
    pub(super) fn most(&self) -> usize {
        self.tokens.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Zero at dead positions and one elsewhere, `[sequences, most tokens]`; none if no position is dead.
    pub(super) fn mask(&self, device: &Device) -> candle_core::Result<Option<Tensor>> {
        if !self.tokens.iter().flatten().any(|&token| token == DEAD) {
            return Ok(None);
        }
        let shape = (self.tokens.len(), self.most());
        let mut mask = vec![0.0_f32; shape.0 * shape.1];
        self.places().for_each(|place| mask[place] = 1.0);
        Tensor::from_vec(mask, shape, device).map(Some)
    }
}
