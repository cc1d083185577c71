//! The blocks of a model, wherever their rows come from.

use std::{collections::BTreeMap, path::Path};

use candle_core::{Device, Tensor};
use engram::Scheme;
use engram_checkpoint::{CONFIG_FILE, Family};

use super::{
    ConvState, Fused, GatedConv,
    check::check_decoder,
    load::{block_name, build, is_left_out},
};
use crate::{Config, Error, weights::Weights};

/// What stands before layers in the names of a decoder's tensors.
const PREFIX: &str = "model.";

/// The Engram blocks of a model, without tables.
#[derive(Debug, Clone)]
pub struct Blocks {
    /// In the order of the scheme.
    pub(super) blocks: Vec<LayerBlock>,
}

/// The block ahead of one decoder layer.
#[derive(Debug, Clone)]
pub(super) struct LayerBlock {
    pub(super) layer: u32,
    pub(super) block: Block,
}

#[derive(Debug, Clone)]
pub(super) enum Block {
    Fused(Fused),
    GatedConv(GatedConv),
}

impl Blocks {
    /// The tensors of blocks that have learned nothing, by the names that a checkpoint has. The same `seed` gives the
    /// same.
    ///
    /// # Errors
    /// Engram fields that contradict the decoder's, a family without blocks, and a computation that fails.
    pub fn fresh_tensors(
        config: &Config,
        family: &Family,
        scheme: &Scheme,
        seed: u64,
    ) -> Result<BTreeMap<String, Tensor>, Error> {
        let mut weights = Weights::fresh(seed, &Device::Cpu);
        check_decoder(Path::new(CONFIG_FILE), config, family)?;
        build(&mut weights, config, family, scheme, |_, _| PREFIX.into())?;
        Ok(weights.into_made())
    }

    /// The blocks of `tensors`, on `device`, as [`Model::from_tensors`](crate::Model::from_tensors) takes the decoder's.
    ///
    /// # Errors
    /// Engram fields that contradict the decoder's, a family without blocks; tensors that are missing, of another
    /// shape, or unknown parts of blocks.
    pub fn from_tensors(
        config: &Config,
        family: &Family,
        scheme: &Scheme,
        tensors: &BTreeMap<String, Tensor>,
        device: &Device,
    ) -> Result<Self, Error> {
        let mut weights = Weights::given(tensors, device);
        check_decoder(Path::new(CONFIG_FILE), config, family)?;
        let blocks = build(&mut weights, config, family, scheme, |weights, layer| {
            weights.prefix_of(&block_name(family, layer))
        })?;
        weights.finish(|name| is_left_out(family, name))?;
        Ok(blocks)
    }

    /// The decoder layers that blocks are ahead of, in order.
    pub fn layers(&self) -> impl Iterator<Item = usize> + '_ {
        self.blocks.iter().map(|block| block.layer as usize)
    }

    /// What so many sequences need to be remembered by, before their first tokens: one state for each block.
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
                check_len(len, state.len(sequence).min(len))?;
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
    /// Sequence `s` has `counts[s]` tokens; what stands in for more means nothing. Where `mask`,
    /// `[sequences, tokens]`, is zero (at images) a block without convolution adds nothing.
    ///
    /// # Errors
    /// Other shapes than those of the block.
    ///
    /// # Panics
    /// If there are not so many blocks.
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

    /// As [`Self::forward`], with the gate of each copy, `[sequences, tokens, copies]`: how much of the rows it took.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
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
    /// Tokens back that the block sees.
    fn reach(&self) -> usize {
        match self {
            Self::Fused(_) => 0,
            Self::GatedConv(block) => block.reach(),
        }
    }
}

/// A history must have as many tokens as the cache says.
pub(super) fn check_len(expected: usize, found: usize) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Cache {
        field: "tokens of a sequence, by the session,",
        found,
        expected,
    })
}
