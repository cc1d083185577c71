//! The gate: how much of the value each copy of the residual stream takes.

use candle_core::{Result, Tensor};
use candle_nn::ops::sigmoid;

/// The least size of a product of which the square root is taken.
const LEAST: f64 = 1e-6;

/// The gate of a product that is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtZero {
    /// Half, as in the demo and Qwen3.8, whose sign of zero is zero.
    Half,
    /// A little more, as in DeepSeek-V4.1, which copies the sign bit.
    SignBit,
}

/// The gate of each scaled product of key and query, any shape: the sigmoid of the square root of its size
/// with its sign.
pub(super) fn gate(dot: &Tensor, at_zero: AtZero) -> Result<Tensor> {
    let root = dot.abs()?.maximum(LEAST)?.sqrt()?;
    let negative = dot.lt(0.0)?;
    let signed = negative.where_cond(&root.neg()?, &root)?;
    let signed = match at_zero {
        AtZero::SignBit => signed,
        AtZero::Half => dot.eq(0.0)?.where_cond(&dot.zeros_like()?, &signed)?,
    };
    sigmoid(&signed)
}
