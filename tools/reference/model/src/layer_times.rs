//! How long each layer takes.

use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};

use crate::{Error, Memory};

/// A memory that takes the time of the decoder layers around it.
#[derive(Debug)]
pub struct LayerTimes<M> {
    memory: M,
    layers: Vec<Duration>,
    /// The layer that is being computed, since when, and where.
    computing: Option<(usize, Instant, Device)>,
}

impl<M: Memory> LayerTimes<M> {
    /// Of a model with so many `layers`, whose memory is `memory`.
    pub fn new(memory: M, layers: usize) -> Self {
        Self {
            memory,
            layers: vec![Duration::ZERO; layers],
            computing: None,
        }
    }

    /// The memory.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// The memory, to be changed.
    pub fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }

    /// Time of each layer without its memory, since the beginning or [`Self::reset`].
    pub fn layers(&self) -> &[Duration] {
        &self.layers
    }

    /// Sets all times to zero.
    pub fn reset(&mut self) {
        self.layers.fill(Duration::ZERO);
    }

    fn stop(&mut self) {
        if let Some((layer, since, device)) = self.computing.take() {
            // A device may not have done yet what it was told; what failed there fails later, too.
            let _ = device.synchronize();
            self.layers[layer] += since.elapsed();
        }
    }
}

impl<M: Memory> Memory for LayerTimes<M> {
    fn begin(&mut self, before: &[usize], tokens: &[&[u32]]) -> Result<(), Error> {
        self.computing = None;
        self.memory.begin(before, tokens)
    }

    fn add(&mut self, layer: usize, stream: &Tensor) -> Result<Option<Tensor>, Error> {
        self.stop();
        let added = self.memory.add(layer, stream)?;
        let device = stream.device();
        device.synchronize()?;
        self.computing = Some((layer, Instant::now(), device.clone()));
        Ok(added)
    }

    fn routed(&mut self, layer: usize, tokens: &[usize]) {
        self.memory.routed(layer, tokens);
    }

    fn end(&mut self, stream: &Tensor) {
        self.stop();
        self.memory.end(stream);
    }

    fn announce(&mut self, tokens: &[&[u32]]) -> Result<(), Error> {
        self.memory.announce(tokens)
    }
}
