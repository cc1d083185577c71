//! The blocks of a model, wherever their rows come from.

use candle_core::Tensor;
use engram::LayerId;

use super::{ConvState, Fused, GatedConv};
use crate::Error;

/// The Engram blocks of a model, without tables.
#[derive(Debug, Clone)]
pub struct BlockWeights {
    /// In the order of the scheme's layers.
    pub(super) blocks: Vec<LayerBlock>,
}

/// The block ahead of one decoder layer.
#[derive(Debug, Clone)]
pub(super) struct LayerBlock {
    pub(super) layer: LayerId,
    pub(super) block: Block,
}

#[derive(Debug, Clone)]
pub(super) enum Block {
    Fused(Fused),
    GatedConv(GatedConv),
}

impl BlockWeights {
    /// The decoder layers that blocks are ahead of, in order.
    pub fn layers(&self) -> impl Iterator<Item = usize> + '_ {
        self.blocks.iter().map(|block| block.layer.0 as usize)
    }

    /// The state of each block, for so many `sequences` that have no tokens yet.
    pub fn states(&self, sequences: usize) -> Vec<ConvState> {
        vec![ConvState::new(sequences); self.blocks.len()]
    }

    /// Goes back to `before[s]` tokens of each sequence `s` in `states`.
    ///
    /// # Errors
    /// More tokens than there were, or fewer than a convolution can go back to.
    pub fn truncate(&self, states: &mut [ConvState], before: &[usize]) -> Result<(), Error> {
        for (block, state) in self.blocks.iter().zip(states) {
            let reach = block.block.reach();
            if reach == 0 {
                continue;
            }
            for (sequence, &len) in before.iter().enumerate() {
                check_len(sequence, len, state.len(sequence).min(len))?;
                let layer = block.layer;
                state
                    .truncate(sequence, len, reach)
                    .map_err(|least| Error::Rollback {
                        layer,
                        sequence,
                        len,
                        least,
                    })?;
            }
        }
        Ok(())
    }

    /// The residual stream with the rows of the block at `index` added, after the tokens that `state` has seen.
    /// Sequence `s` has `counts[s]` tokens; the output for padding means nothing. Where `mask`,
    /// `[sequences, tokens]`, is zero (at images) a block without convolution adds nothing.
    ///
    /// # Errors
    /// Tensors of other shapes than the block needs.
    ///
    /// # Panics
    /// If `index` is not below the number of blocks.
    pub fn forward(
        &self,
        index: usize,
        rows: &Tensor,
        stream: &Tensor,
        mask: Option<&Tensor>,
        counts: &[usize],
        state: &mut ConvState,
    ) -> Result<Tensor, Error> {
        let (stream, _) = self.forward_with_gates(index, rows, stream, mask, counts, state)?;
        Ok(stream)
    }

    /// As [`Self::forward`], with the gates, `[sequences, tokens, copies]`: how much of the rows each copy took.
    ///
    /// # Errors
    /// As [`Self::forward`].
    ///
    /// # Panics
    /// As [`Self::forward`].
    pub fn forward_with_gates(
        &self,
        index: usize,
        rows: &Tensor,
        stream: &Tensor,
        mask: Option<&Tensor>,
        counts: &[usize],
        state: &mut ConvState,
    ) -> Result<(Tensor, Tensor), Error> {
        match &self.blocks[index].block {
            Block::Fused(block) => block.forward_with_gates(rows, stream, mask),
            Block::GatedConv(block) => block.forward_with_gates(rows, stream, counts, state),
        }
    }
}

impl Block {
    /// How many tokens back the block sees.
    fn reach(&self) -> usize {
        match self {
            Self::Fused(_) => 0,
            Self::GatedConv(block) => block.reach(),
        }
    }
}

/// Checks that a history has as many tokens as the cache says.
pub(super) fn check_len(sequence: usize, expected: usize, found: usize) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::History {
        sequence,
        found,
        expected,
    })
}
