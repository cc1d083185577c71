//! Where a memory joins the residual stream.

use candle_core::Tensor;

use crate::Error;

/// What a caller adds to the residual stream.
pub trait Memory {
    /// Called once before each decoder layer, in order, ahead of the layer's first norm.
    ///
    /// `layer` counts from zero; `hidden` is the residual stream, `[batch, tokens, hidden_size]` in f32, of the
    /// call's tokens alone. Returns what the stream shall be instead, in the same shape, or `None` to leave it.
    ///
    /// A memory that keeps state between calls must roll it back itself where the [`Cache`](crate::Cache) is
    /// truncated, or a forward pass fails.
    ///
    /// # Errors
    /// Whatever keeps the memory from answering; the forward pass ends with it.
    fn add(&mut self, layer: usize, hidden: &Tensor) -> Result<Option<Tensor>, Error>;
}

/// No memory.
impl Memory for () {
    fn add(&mut self, _layer: usize, _hidden: &Tensor) -> Result<Option<Tensor>, Error> {
        Ok(None)
    }
}
