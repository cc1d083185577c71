//! Engram blocks: rows, gated by the hidden state, join the residual stream.
//!
//! Shapes: rows are `[batch, tokens, columns * width]`, decoded and in column order; the residual stream
//! is `[batch, tokens, copies, dim]`, with one copy where there are no hyper-connections. All in f32.

mod conv;
mod fused;
mod gate;
mod gated_conv;
mod norm;

pub use conv::ConvState;
pub use fused::{Fused, FusedTensors};
pub use gated_conv::{ConvTensors, GatedConv};
pub use norm::CopyNorm;
