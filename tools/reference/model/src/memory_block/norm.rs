//! Root mean squares of each copy by itself.

use candle_core::{D, Result, Tensor};

use crate::grad::norm;

/// The root-mean-square norm of the last dimension, with weights `[copies, dim]`.
#[derive(Debug, Clone)]
pub struct CopyNorm {
    weight: Tensor,
    eps: f64,
}

impl CopyNorm {
    /// A norm that multiplies by `weight`, `[copies, dim]`; checkpoints that store what is added to one must
    /// be shifted first.
    pub fn new(weight: Tensor, eps: f64) -> Self {
        Self { weight, eps }
    }

    /// Norms `x`, `[batch, tokens, copies, dim]`.
    ///
    /// # Errors
    /// Another shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        norm(x, &self.weight, self.eps, |x, weight| {
            let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
            let normed = x.broadcast_div(&(mean + self.eps)?.sqrt()?)?;
            normed.broadcast_mul(weight)
        })
    }

    pub(super) fn weight(&self) -> &Tensor {
        &self.weight
    }
}
