//! Where a memory joins the residual stream.

use candle_core::Tensor;

use crate::Error;

/// What a caller adds to the residual stream.
///
/// A pass calls [`Self::begin`], then [`Self::add`] before each layer in order, [`Self::routed`] in each that has
/// experts, then [`Self::end`]. One that fails
/// ends without; the next pass then begins with the lengths that this one did. So the cache alone says what counts,
/// and a memory that keeps state between passes goes back to the lengths that it is told.
pub trait Memory {
    /// A pass begins: `before[s]` tokens of sequence `s` count, all others are to be forgotten, and `tokens[s]`
    /// follow, if any.
    ///
    /// # Errors
    /// Whatever keeps the memory from answering; the pass ends with it, here and below.
    fn begin(&mut self, before: &[usize], tokens: &[&[u32]]) -> Result<(), Error>;

    /// What the residual stream shall be ahead of a layer, in the same shape, or `None` to leave it.
    ///
    /// `layer` counts from zero; `stream` is `[sequences, tokens, copies, hidden_size]` in f32, of the pass's tokens
    /// alone. Where a sequence has fewer tokens than another, its last ones mean nothing.
    ///
    /// # Errors
    /// As above.
    fn add(&mut self, layer: usize, stream: &Tensor) -> Result<Option<Tensor>, Error>;

    /// The experts of `layer` were given so many tokens each; what stands in for a token counts.
    fn routed(&mut self, layer: usize, tokens: &[usize]) {
        let _ = (layer, tokens);
    }

    /// The last layer has been computed; `stream` is what it made, in the same shape as above.
    fn end(&mut self, stream: &Tensor) {
        let _ = stream;
    }

    /// `tokens` will follow those begun or announced last, if nothing intervenes: a memory may begin to fetch what
    /// they need. A pass with other tokens is not wrong.
    ///
    /// # Errors
    /// As above.
    fn announce(&mut self, tokens: &[&[u32]]) -> Result<(), Error> {
        let _ = tokens;
        Ok(())
    }
}

/// No memory.
impl Memory for () {
    fn begin(&mut self, _before: &[usize], _tokens: &[&[u32]]) -> Result<(), Error> {
        Ok(())
    }

    fn add(&mut self, _layer: usize, _stream: &Tensor) -> Result<Option<Tensor>, Error> {
        Ok(None)
    }
}

/// No memory, where there is none.
impl<M: Memory> Memory for Option<M> {
    fn begin(&mut self, before: &[usize], tokens: &[&[u32]]) -> Result<(), Error> {
        match self {
            Some(memory) => memory.begin(before, tokens),
            None => Ok(()),
        }
    }

    fn add(&mut self, layer: usize, stream: &Tensor) -> Result<Option<Tensor>, Error> {
        match self {
            Some(memory) => memory.add(layer, stream),
            None => Ok(None),
        }
    }

    fn routed(&mut self, layer: usize, tokens: &[usize]) {
        if let Some(memory) = self {
            memory.routed(layer, tokens);
        }
    }

    fn end(&mut self, stream: &Tensor) {
        if let Some(memory) = self {
            memory.end(stream);
        }
    }

    fn announce(&mut self, tokens: &[&[u32]]) -> Result<(), Error> {
        match self {
            Some(memory) => memory.announce(tokens),
            None => Ok(()),
        }
    }
}

impl<M: Memory + ?Sized> Memory for &mut M {
    fn begin(&mut self, before: &[usize], tokens: &[&[u32]]) -> Result<(), Error> {
        (**self).begin(before, tokens)
    }

    fn add(&mut self, layer: usize, stream: &Tensor) -> Result<Option<Tensor>, Error> {
        (**self).add(layer, stream)
    }

    fn routed(&mut self, layer: usize, tokens: &[usize]) {
        (**self).routed(layer, tokens);
    }

    fn end(&mut self, stream: &Tensor) {
        (**self).end(stream);
    }

    fn announce(&mut self, tokens: &[&[u32]]) -> Result<(), Error> {
        (**self).announce(tokens)
    }
}
