//! Engram blocks: rows, gated by the hidden state, join the residual stream.
//!
//! Shapes: rows are `[sequences, tokens, columns * width]`, decoded and in column order; the residual stream
//! is `[sequences, tokens, copies, dim]`, with one copy where there are no hyper-connections. All in f32.

mod blocks;
mod check;
mod conv;
mod engram_blocks;
mod fused;
mod gate;
mod gated_conv;
mod load;
mod names;
mod norm;
mod pass_tokens;
mod pending_rows;
#[cfg(feature = "ring")]
mod ring_decoder;
mod session;
mod times;

pub use blocks::BlockWeights;
pub use conv::ConvState;
pub use engram_blocks::EngramBlocks;
pub use fused::{Fused, FusedTensors};
pub use gated_conv::{ConvTensors, GatedConv};
pub(crate) use names::is_part_of_block;
pub use norm::CopyNorm;
pub use session::Session;
pub use times::RowTimes;
