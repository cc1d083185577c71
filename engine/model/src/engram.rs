//! Engram blocks: rows, gated by the hidden state, join the residual stream.
//!
//! Shapes: rows are `[sequences, tokens, columns * width]`, decoded and in column order; the residual stream
//! is `[sequences, tokens, copies, dim]`, with one copy where there are no hyper-connections. All in f32.

mod check;
mod coming;
mod conv;
mod fused;
mod gate;
mod gated_conv;
mod load;
mod norm;
mod pass;
mod session;
#[cfg(feature = "ring")]
mod through;
mod times;

use std::sync::Arc;

use candle_core::{Device, Tensor};
use engram::{RowCodec, Store};

pub use conv::ConvState;
pub use fused::{Fused, FusedTensors};
pub use gated_conv::{ConvTensors, GatedConv};
pub use norm::CopyNorm;
pub use session::Session;
pub use times::RowTimes;

use crate::Error;

/// The Engram blocks of a model, and the store that has their rows.
#[derive(Debug)]
pub struct Engram {
    store: Arc<Store>,
    /// In the order of the store's scheme.
    blocks: Vec<LayerBlock>,
    /// Stands for a part of an image, which has no rows.
    image_token: Option<u32>,
    /// How rows come to the device, if not decoded on the processor.
    #[cfg(feature = "ring")]
    through: Option<through::Through>,
    device: Device,
}

/// The block ahead of one decoder layer.
#[derive(Debug)]
struct LayerBlock {
    layer: u32,
    codec: RowCodec,
    block: Block,
}

#[derive(Debug)]
enum Block {
    Fused(Fused),
    GatedConv(GatedConv),
}

impl Engram {
    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The decoder layers that blocks are ahead of, in order.
    pub fn layers(&self) -> impl Iterator<Item = usize> + '_ {
        self.blocks.iter().map(|block| block.layer as usize)
    }

    /// What so many sequences need to be remembered by, before their first tokens.
    pub fn session(&self, sequences: usize) -> Session<'_> {
        Session::new(self, sequences)
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

    /// The stream, and the gates `[sequences, tokens, copies]`.
    fn forward(
        &self,
        rows: &Tensor,
        stream: &Tensor,
        mask: Option<&Tensor>,
        counts: &[usize],
        state: &mut ConvState,
    ) -> Result<(Tensor, Tensor), Error> {
        match self {
            Self::Fused(block) => block.forward_with_gates(rows, stream, mask),
            Self::GatedConv(block) => block.forward_with_gates(rows, stream, counts, state),
        }
    }
}

/// Whether the tensor `name` of a checkpoint is part of a block or its table.
pub(crate) fn has(name: &str) -> bool {
    let layer = name.split_once("layers.").map(|(_, rest)| rest);
    let part = layer.and_then(|rest| rest.split_once('.'));
    part.is_some_and(|(_, part)| part.starts_with("engram.") || part.starts_with("ple."))
}
