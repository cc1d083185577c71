//! How something joins the residual stream, or watches it.

use candle_core::Tensor;

use crate::Error;

/// Called ahead of each layer of a pass, to change the residual stream or to look at it.
///
/// A pass calls [`Self::begin`], then for each layer in order [`Self::add`] and, if the layer has experts,
/// [`Self::routed`], and at last [`Self::end`]. A pass that fails ends without `end`; the next pass then begins with
/// the same lengths. So the cache alone says which tokens count, and a hook with a state of its own goes back to the
/// lengths that it is told.
pub trait LayerHook {
    /// A pass begins: the first `before[s]` tokens of sequence `s` count, any later ones are to be forgotten, and
    /// `tokens[s]` follow.
    ///
    /// # Errors
    /// Whatever the hook cannot do. The pass ends with this error.
    fn begin(&mut self, before: &[usize], tokens: &[&[u32]]) -> Result<(), Error>;

    /// Returns the residual stream to use ahead of `layer`, in the same shape, or `None` to leave it as it is.
    ///
    /// `layer` counts from zero. `stream` is `[sequences, tokens, copies, hidden_size]` in f32, of the tokens of this
    /// pass alone; a sequence with fewer tokens than another is padded at its end.
    ///
    /// # Errors
    /// As [`Self::begin`].
    fn add(&mut self, layer: usize, stream: &Tensor) -> Result<Option<Tensor>, Error>;

    /// The experts of `layer` were given so many `tokens` each, padding included.
    fn routed(&mut self, layer: usize, tokens: &[usize]) {
        let _ = (layer, tokens);
    }

    /// The last layer has been computed; `stream` is its output, in the shape that [`Self::add`] gets.
    fn end(&mut self, stream: &Tensor) {
        let _ = stream;
    }

    /// `tokens` will probably follow those that were begun or announced last, so a hook may begin to fetch what they
    /// need. A pass may still come with other tokens.
    ///
    /// # Errors
    /// As [`Self::begin`].
    fn announce(&mut self, tokens: &[&[u32]]) -> Result<(), Error> {
        let _ = tokens;
        Ok(())
    }
}

/// Changes nothing.
impl LayerHook for () {
    fn begin(&mut self, _before: &[usize], _tokens: &[&[u32]]) -> Result<(), Error> {
        Ok(())
    }

    fn add(&mut self, _layer: usize, _stream: &Tensor) -> Result<Option<Tensor>, Error> {
        Ok(None)
    }
}

/// Changes nothing if there is none.
impl<H: LayerHook> LayerHook for Option<H> {
    fn begin(&mut self, before: &[usize], tokens: &[&[u32]]) -> Result<(), Error> {
        match self {
            Some(hook) => hook.begin(before, tokens),
            None => Ok(()),
        }
    }

    fn add(&mut self, layer: usize, stream: &Tensor) -> Result<Option<Tensor>, Error> {
        match self {
            Some(hook) => hook.add(layer, stream),
            None => Ok(None),
        }
    }

    fn routed(&mut self, layer: usize, tokens: &[usize]) {
        if let Some(hook) = self {
            hook.routed(layer, tokens);
        }
    }

    fn end(&mut self, stream: &Tensor) {
        if let Some(hook) = self {
            hook.end(stream);
        }
    }

    fn announce(&mut self, tokens: &[&[u32]]) -> Result<(), Error> {
        match self {
            Some(hook) => hook.announce(tokens),
            None => Ok(()),
        }
    }
}

impl<H: LayerHook + ?Sized> LayerHook for &mut H {
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
