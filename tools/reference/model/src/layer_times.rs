//! How long each layer takes.

use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};

use crate::{Error, LayerHook};

/// A hook around another that measures how long each decoder layer takes.
#[derive(Debug)]
pub struct LayerTimes<H> {
    hook: H,
    layers: Vec<Duration>,
    /// The layer that is being computed, since when, and where.
    computing: Option<(usize, Instant, Device)>,
}

impl<H: LayerHook> LayerTimes<H> {
    /// Around `hook`, for a model with so many `layers`.
    pub fn new(hook: H, layers: usize) -> Self {
        Self {
            hook,
            layers: vec![Duration::ZERO; layers],
            computing: None,
        }
    }

    /// The hook inside.
    pub fn hook(&self) -> &H {
        &self.hook
    }

    /// The hook inside, to be changed.
    pub fn hook_mut(&mut self) -> &mut H {
        &mut self.hook
    }

    /// The time of each layer without the hook inside, since the beginning or [`Self::reset`].
    pub fn layers(&self) -> &[Duration] {
        &self.layers
    }

    /// Sets all times to zero.
    pub fn reset(&mut self) {
        self.layers.fill(Duration::ZERO);
    }

    fn stop(&mut self) {
        if let Some((layer, since, device)) = self.computing.take() {
            // A device computes asynchronously. An error of it comes up in the pass itself, too.
            let _ = device.synchronize();
            self.layers[layer] += since.elapsed();
        }
    }
}

impl<H: LayerHook> LayerHook for LayerTimes<H> {
    fn begin(&mut self, before: &[usize], tokens: &[&[u32]]) -> Result<(), Error> {
        self.computing = None;
        self.hook.begin(before, tokens)
    }

    fn add(&mut self, layer: usize, stream: &Tensor) -> Result<Option<Tensor>, Error> {
        self.stop();
        let added = self.hook.add(layer, stream)?;
        let device = stream.device();
        device.synchronize()?;
        self.computing = Some((layer, Instant::now(), device.clone()));
        Ok(added)
    }

    fn routed(&mut self, layer: usize, tokens: &[usize]) {
        self.hook.routed(layer, tokens);
    }

    fn end(&mut self, stream: &Tensor) {
        self.stop();
        self.hook.end(stream);
    }

    fn announce(&mut self, tokens: &[&[u32]]) -> Result<(), Error> {
        self.hook.announce(tokens)
    }
}
