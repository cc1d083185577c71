//! The residual stream at each depth.

use candle_core::Tensor;

use crate::{Error, LayerHook};

/// A hook around another that keeps the residual stream of the last pass at each depth. It copies nothing.
#[derive(Debug)]
pub struct Streams<H> {
    hook: H,
    depths: Vec<Tensor>,
}

impl<H: LayerHook> Streams<H> {
    /// Around `hook`.
    pub fn new(hook: H) -> Self {
        Self {
            hook,
            depths: Vec::new(),
        }
    }

    /// The streams, `[sequences, tokens, copies, hidden_size]` each, one more than there are layers.
    pub fn depths(&self) -> &[Tensor] {
        &self.depths
    }
}

impl<H: LayerHook> LayerHook for Streams<H> {
    fn begin(&mut self, before: &[usize], tokens: &[&[u32]]) -> Result<(), Error> {
        self.depths.clear();
        self.hook.begin(before, tokens)
    }

    fn add(&mut self, layer: usize, stream: &Tensor) -> Result<Option<Tensor>, Error> {
        self.depths.push(stream.clone());
        self.hook.add(layer, stream)
    }

    fn routed(&mut self, layer: usize, tokens: &[usize]) {
        self.hook.routed(layer, tokens);
    }

    fn end(&mut self, stream: &Tensor) {
        self.depths.push(stream.clone());
        self.hook.end(stream);
    }

    fn announce(&mut self, tokens: &[&[u32]]) -> Result<(), Error> {
        self.hook.announce(tokens)
    }
}
