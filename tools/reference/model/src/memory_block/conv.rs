//! A short causal convolution over time, each channel by itself.

use candle_core::{IndexOp, Result, Tensor};

/// The last inputs of a convolution, for each of some sequences.
#[derive(Debug, Clone)]
pub struct ConvState(Vec<History>);

/// The last inputs of one sequence.
#[derive(Debug, Clone, Default)]
struct History {
    /// Tokens so far.
    len: usize,
    /// `[frames, channels]`: the inputs that the next token sees, and those of the last call. `None` before the
    /// first token, when all were zero.
    last: Option<Tensor>,
}

impl ConvState {
    /// The state of so many sequences before their first tokens.
    pub fn new(sequences: usize) -> Self {
        Self(vec![History::default(); sequences])
    }

    /// Tokens that the sequence at index `sequence` has had.
    pub(crate) fn len(&self, sequence: usize) -> usize {
        self.0[sequence].len
    }

    /// Drops the tokens of `sequence` after the first `len`, for a convolution that reaches `reach` tokens back.
    ///
    /// # Errors
    /// The least length that is still possible, apart from zero: that at the start of the last call.
    pub(crate) fn truncate(
        &mut self,
        sequence: usize,
        len: usize,
        reach: usize,
    ) -> std::result::Result<(), usize> {
        let seen = &mut self.0[sequence];
        if len == 0 {
            *seen = History::default();
        }
        let Some(last) = seen.last.as_ref().filter(|_| len < seen.len) else {
            return Ok(());
        };
        let frames = last.dims()[0];
        let least = seen.len - (frames - reach);
        let dropped = seen.len - len;
        match frames.checked_sub(dropped).filter(|&left| left >= reach) {
            Some(left) => {
                let kept = last.narrow(0, 0, left).expect("fewer frames than before");
                *seen = History {
                    len,
                    last: Some(kept),
                };
                Ok(())
            }
            None => Err(least),
        }
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

    /// How many tokens back it sees.
    pub(super) fn reach(&self) -> usize {
        (self.taps.dims()[0] - 1) * self.dilation
    }

    /// The convolution of `x`, `[sequences, tokens, channels]`, which follows what `state` has seen. Of sequence `s`
    /// only the first `counts[s]` tokens are kept.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        counts: &[usize],
        state: &mut ConvState,
    ) -> Result<Tensor> {
        let (_, tokens, channels) = x.dims3()?;
        let (kernel, reach) = (self.taps.dim(0)?, self.reach());
        let past = state.0.iter().map(|seen| match &seen.last {
            Some(last) => last.narrow(0, last.dim(0)? - reach, reach),
            None => Tensor::zeros((reach, channels), x.dtype(), x.device()),
        });
        let past = Tensor::stack(&past.collect::<Result<Vec<_>>>()?, 0)?;
        let frames = Tensor::cat(&[&past, x], 1)?;
        for (sequence, (seen, &count)) in state.0.iter_mut().zip(counts).enumerate() {
            seen.last = Some(frames.i(sequence)?.narrow(0, 0, reach + count)?);
            seen.len += count;
        }
        let mut sum = x.zeros_like()?;
        for tap in 0..kernel {
            let shifted = frames.narrow(1, tap * self.dilation, tokens)?;
            sum = (sum + shifted.broadcast_mul(&self.taps.get(tap)?)?)?;
        }
        Ok(sum)
    }
}
