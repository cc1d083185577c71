//! The block of DeepSeek-V4.1-Flash: one projection for keys and value, no convolution.

use candle_core::{D, Tensor};

use super::gate::{AtZero, gate};
use crate::error::{Error, expect_shape};

/// The tensors of a checkpoint for one block.
#[derive(Debug, Clone)]
pub struct FusedTensors {
    /// `[(copies + 1) * dim, columns * width]`: the keys of all copies, then the value they share.
    pub wkv: Tensor,
    /// `[copies, dim]`; only its product with `k_weight` matters.
    pub q_weight: Tensor,
    /// `[copies, dim]`.
    pub k_weight: Tensor,
}

/// The block of DeepSeek-V4.1-Flash.
#[derive(Debug, Clone)]
pub struct Fused {
    wkv: Tensor,
    /// The weights of queries and keys in one, `[copies, dim]`.
    weight: Tensor,
    copies: usize,
    dim: usize,
    eps: f64,
}

impl Fused {
    /// A block for rows of `row_values` values in all columns.
    ///
    /// # Errors
    /// Tensors of other shapes than the first one, or `row_values`, ask for.
    pub fn new(tensors: &FusedTensors, row_values: usize, eps: f64) -> Result<Self, Error> {
        let (copies, dim) = tensors.q_weight.dims2()?;
        expect_shape("tensor k_weight", &tensors.k_weight, &[copies, dim])?;
        expect_shape(
            "tensor wkv",
            &tensors.wkv,
            &[(copies + 1) * dim, row_values],
        )?;
        Ok(Self {
            wkv: tensors.wkv.t()?.contiguous()?,
            weight: (&tensors.q_weight * &tensors.k_weight)?,
            copies,
            dim,
            eps,
        })
    }

    /// The residual stream with the rows added. Where `mask`, `[batch, tokens]`, is zero (at images) nothing
    /// is added.
    ///
    /// # Errors
    /// Other shapes than those of the block.
    pub fn forward(
        &self,
        rows: &Tensor,
        hidden: &Tensor,
        mask: Option<&Tensor>,
    ) -> Result<Tensor, Error> {
        let (stream, _) = self.forward_with_gates(rows, hidden, mask)?;
        Ok(stream)
    }

    /// As [`Self::forward`], with the gate of each copy, `[batch, tokens, copies]`: zero where nothing is added.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_with_gates(
        &self,
        rows: &Tensor,
        hidden: &Tensor,
        mask: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor), Error> {
        let (batch, tokens, _, _) = hidden.dims4()?;
        let projected = rows.broadcast_matmul(&self.wkv)?;
        let keys = projected.narrow(2, 0, self.copies * self.dim)?;
        let keys = keys.reshape((batch, tokens, self.copies, self.dim))?;
        let value = projected.narrow(2, self.copies * self.dim, self.dim)?;
        let scale = |x: &Tensor| {
            (x.sqr()?.mean_keepdim(D::Minus1)? + self.eps)?
                .sqrt()?
                .recip()
        };
        let dot = (hidden * &keys)?.broadcast_mul(&self.weight)?;
        let dot = dot.sum_keepdim(D::Minus1)?;
        let dot = ((dot * scale(hidden)?)? * scale(&keys)?)?;
        #[expect(clippy::cast_precision_loss, reason = "widths of models are small")]
        let dot = (dot / (self.dim as f64).sqrt())?;
        let mut gate = gate(&dot, AtZero::SignBit)?;
        if let Some(mask) = mask {
            gate = gate.broadcast_mul(&mask.reshape((batch, tokens, 1, 1))?)?;
        }
        let added = gate.broadcast_mul(&value.unsqueeze(2)?)?;
        Ok(((hidden + added)?, gate.squeeze(D::Minus1)?))
    }
}
