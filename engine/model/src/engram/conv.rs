//! A short causal convolution over time, each channel by itself.

use candle_core::{Result, Tensor};

/// The last inputs of a convolution, `[batch, (kernel - 1) * dilation, channels]`; before the first token
/// they are zero.
#[derive(Debug, Clone, Default)]
pub struct ConvState(Option<Tensor>);

impl ConvState {
    /// The state before the first token.
    pub fn new() -> Self {
        Self::default()
    }
}

/// A depthwise causal convolution with gaps between its taps.
#[derive(Debug, Clone)]
pub(super) struct Conv {
    /// `[kernel, channels]`, the oldest tap first.
    taps: Tensor,
    dilation: usize,
}

impl Conv {
    /// `weight` is `[channels, 1, kernel]`, as checkpoints have it.
    pub(super) fn new(weight: &Tensor, dilation: usize) -> Result<Self> {
        Ok(Self {
            taps: weight.squeeze(1)?.t()?.contiguous()?,
            dilation,
        })
    }

    /// The convolution of `x`, `[batch, tokens, channels]`, which follows what `state` has seen.
    pub(super) fn forward(&self, x: &Tensor, state: &mut ConvState) -> Result<Tensor> {
        let (batch, tokens, channels) = x.dims3()?;
        let kernel = self.taps.dim(0)?;
        let before = (kernel - 1) * self.dilation;
        let past = match state.0.take() {
            Some(past) => past,
            None => Tensor::zeros((batch, before, channels), x.dtype(), x.device())?,
        };
        let seen = Tensor::cat(&[&past, x], 1)?;
        state.0 = Some(seen.narrow(1, tokens, before)?.contiguous()?);
        let mut sum = x.zeros_like()?;
        for tap in 0..kernel {
            let shifted = seen.narrow(1, tap * self.dilation, tokens)?;
            sum = (sum + shifted.broadcast_mul(&self.taps.get(tap)?)?)?;
        }
        Ok(sum)
    }
}
