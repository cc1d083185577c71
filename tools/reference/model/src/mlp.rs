//! The gated linear unit of dense layers and of experts.

use candle_core::Tensor;
use candle_nn::{Linear, Module};

use crate::{Error, grad::gated, weights::Scope};

#[derive(Debug, Clone)]
pub(crate) struct Mlp {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Mlp {
    pub(crate) fn load(mut weights: Scope<'_>, hidden: usize, inner: usize) -> Result<Self, Error> {
        Ok(Self {
            gate: weights.linear("gate_proj", hidden, inner, false)?,
            up: weights.linear("up_proj", hidden, inner, false)?,
            down: weights.linear("down_proj", inner, hidden, false)?,
        })
    }

    /// Keeps the shape of `x`, `[.., hidden]`.
    pub(crate) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let gated = gated(&self.gate.forward(x)?, &self.up.forward(x)?)?;
        self.down.forward(&gated)
    }
}
