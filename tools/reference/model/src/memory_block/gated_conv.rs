//! The block of the paper's demo and of Qwen3.8-Flash-Next: separate projections, and a convolution over the
//! gated values.

use candle_core::{D, Tensor};
use candle_nn::{Linear, Module, ops::silu};

use super::{
    conv::{Conv, ConvState},
    gate::{AtZero, gate},
    norm::CopyNorm,
};
use crate::error::{Error, expect_shape};

/// The tensors of a checkpoint for one block.
#[derive(Debug, Clone)]
pub struct ConvTensors {
    /// Keys of all copies, `[copies * dim, columns * width]`.
    pub key: Linear,
    /// The value that the copies share, `[dim, columns * width]`.
    pub value: Linear,
    /// Norm of the keys.
    pub key_norm: CopyNorm,
    /// Norm of the residual stream.
    pub query_norm: CopyNorm,
    /// Norm of the input of the convolution.
    pub conv_norm: CopyNorm,
    /// `[copies * dim, 1, kernel]`.
    pub conv: Tensor,
    /// Positions between taps: the longest n-gram order.
    pub dilation: usize,
}

/// The block of the demo and of Qwen3.8-Flash-Next.
#[derive(Debug, Clone)]
pub struct GatedConv {
    tensors: ConvTensors,
    conv: Conv,
    copies: usize,
    dim: usize,
}

impl GatedConv {
    /// A block for rows of `row_values` values in all columns.
    ///
    /// # Errors
    /// Tensors of other shapes than the norms, or `row_values`, ask for.
    pub fn new(tensors: ConvTensors, row_values: usize) -> Result<Self, Error> {
        let (copies, dim) = tensors.key_norm.weight().dims2()?;
        for (name, norm) in [
            ("tensor query_norm", &tensors.query_norm),
            ("tensor conv_norm", &tensors.conv_norm),
        ] {
            expect_shape(name, norm.weight(), &[copies, dim])?;
        }
        let channels = copies * dim;
        for (name, linear, out) in [
            ("tensor key", &tensors.key, channels),
            ("tensor value", &tensors.value, dim),
        ] {
            expect_shape(name, linear.weight(), &[out, row_values])?;
            if let Some(bias) = linear.bias() {
                expect_shape(name, bias, &[out])?;
            }
        }
        let (_, _, kernel) = tensors.conv.dims3()?;
        expect_shape("tensor conv", &tensors.conv, &[channels, 1, kernel.max(1)])?;
        Ok(Self {
            conv: Conv::new(&tensors.conv, tensors.dilation)?,
            copies,
            dim,
            tensors,
        })
    }

    /// How many tokens back the convolution sees.
    pub(crate) fn reach(&self) -> usize {
        self.conv.reach()
    }

    /// The residual stream with the rows added, after the tokens that `state` has seen. Sequence `s` has
    /// `counts[s]` tokens; the output for padding means nothing.
    ///
    /// # Errors
    /// Other shapes than those of the block.
    pub fn forward(
        &self,
        rows: &Tensor,
        hidden: &Tensor,
        counts: &[usize],
        state: &mut ConvState,
    ) -> Result<Tensor, Error> {
        let (stream, _) = self.forward_with_gates(rows, hidden, counts, state)?;
        Ok(stream)
    }

    /// As [`Self::forward`], with the gate of each copy, `[sequences, tokens, copies]`. The convolution brings what
    /// gates let through before, too.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_with_gates(
        &self,
        rows: &Tensor,
        hidden: &Tensor,
        counts: &[usize],
        state: &mut ConvState,
    ) -> Result<(Tensor, Tensor), Error> {
        let (batch, tokens, _, _) = hidden.dims4()?;
        let per_copy = (batch, tokens, self.copies, self.dim);
        let keys = self.tensors.key.forward(rows)?.reshape(per_copy)?;
        let value = self.tensors.value.forward(rows)?.unsqueeze(2)?;
        let keys = self.tensors.key_norm.forward(&keys)?;
        let queries = self.tensors.query_norm.forward(hidden)?;
        #[expect(clippy::cast_precision_loss, reason = "widths of models are small")]
        let dot = ((keys * queries)?.sum_keepdim(D::Minus1)? / (self.dim as f64).sqrt())?;
        let gate = gate(&dot, AtZero::Half)?;
        let gated = gate.broadcast_mul(&value)?;
        let channels = (batch, tokens, self.copies * self.dim);
        let normed = self.tensors.conv_norm.forward(&gated)?.reshape(channels)?;
        let mixed = silu(&self.conv.forward(&normed, counts, state)?)?.reshape(per_copy)?;
        Ok((((hidden + gated)? + mixed)?, gate.squeeze(D::Minus1)?))
    }
}
