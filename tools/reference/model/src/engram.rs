//! Engram blocks: rows, gated by the hidden state, join the residual stream.
//!
//! Shapes: rows are `[sequences, tokens, columns * width]`, decoded and in column order; the residual stream
//! is `[sequences, tokens, copies, dim]`, with one copy where there are no hyper-connections. All in f32.

mod blocks;
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

use candle_core::Device;
use engram::Store;

pub use blocks::Blocks;
pub use conv::ConvState;
pub use fused::{Fused, FusedTensors};
pub use gated_conv::{ConvTensors, GatedConv};
pub use norm::CopyNorm;
pub use session::Session;
pub use times::RowTimes;

/// The Engram blocks of a model, and the store that has their rows.
#[derive(Debug)]
pub struct Engram {
    store: Arc<Store>,
    blocks: Blocks,
    /// Stands for a part of an image, which has no rows.
    image_token: Option<u32>,
    /// How rows come to the device, if not decoded on the processor.
    #[cfg(feature = "ring")]
    through: Option<through::Through>,
    device: Device,
}

impl Engram {
    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The decoder layers that blocks are ahead of, in order.
    pub fn layers(&self) -> impl Iterator<Item = usize> + '_ {
        self.blocks.layers()
    }

    /// What so many sequences need to be remembered by, before their first tokens.
    pub fn session(&self, sequences: usize) -> Session<'_> {
        Session::new(self, sequences)
    }
}

/// Whether the tensor `name` of a checkpoint is part of a block or its table.
pub(crate) fn has(name: &str) -> bool {
    let layer = name.split_once("layers.").map(|(_, rest)| rest);
    let part = layer.and_then(|rest| rest.split_once('.'));
    part.is_some_and(|(_, part)| part.starts_with("engram.") || part.starts_with("ple."))
}
