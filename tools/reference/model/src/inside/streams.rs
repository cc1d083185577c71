//! The residual stream on its way.

use candle_core::Tensor;

use crate::{Error, Memory};

/// A memory that keeps the residual stream of the last pass at each depth. It copies nothing.
#[derive(Debug)]
pub struct Streams<M> {
    memory: M,
    depths: Vec<Tensor>,
}

impl<M: Memory> Streams<M> {
    /// Around `memory`.
    pub fn new(memory: M) -> Self {
        Self {
            memory,
            depths: Vec::new(),
        }
    }

    /// The streams, `[sequences, tokens, copies, hidden_size]` each, one more than there are layers.
    pub fn depths(&self) -> &[Tensor] {
        &self.depths
    }
}

impl<M: Memory> Memory for Streams<M> {
    fn begin(&mut self, before: &[usize], tokens: &[&[u32]]) -> Result<(), Error> {
        self.depths.clear();
        self.memory.begin(before, tokens)
    }

    fn add(&mut self, layer: usize, stream: &Tensor) -> Result<Option<Tensor>, Error> {
        self.depths.push(stream.clone());
        self.memory.add(layer, stream)
    }

    fn routed(&mut self, layer: usize, tokens: &[usize]) {
        self.memory.routed(layer, tokens);
    }

    fn end(&mut self, stream: &Tensor) {
        self.depths.push(stream.clone());
        self.memory.end(stream);
    }

    fn announce(&mut self, tokens: &[&[u32]]) -> Result<(), Error> {
        self.memory.announce(tokens)
    }
}
