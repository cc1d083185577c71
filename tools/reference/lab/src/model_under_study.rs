//! The models that are looked into.

use anyhow::Result;
use candle_core::Tensor;
use engram_model::{EngramBlocks, Model, inside::Streams};

use crate::open::ModelArgs;

/// A model, with its rows where it has Engram layers.
pub(crate) struct ModelUnderStudy {
    model: Model,
    engram: Option<EngramBlocks>,
}

/// Whether rows join the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    Added,
    /// All gates are shut: the weights are the same, rows contribute nothing.
    ShutOut,
}

/// What one window has shown.
pub(crate) struct WindowPass {
    /// The residual stream at each depth, `[1, tokens, copies, hidden_size]`.
    pub(crate) depths: Vec<Tensor>,
    /// `[tokens, vocab_size]`.
    pub(crate) logits: Tensor,
    /// Of each Engram layer, `[1, tokens, copies]`; none where rows are shut out.
    pub(crate) gates: Vec<Tensor>,
}

impl ModelUnderStudy {
    pub(crate) fn open(args: &ModelArgs) -> Result<Self> {
        Ok(Self {
            // The pack is checked quickly, so it comes first; weights take a while.
            engram: Some(args.blocks_with(args.config()?)?),
            model: args.load_model()?,
        })
    }

    /// The decoder of `args` alone, which has no Engram layers.
    pub(crate) fn open_plain(args: &ModelArgs) -> Result<Self> {
        Ok(Self {
            engram: None,
            model: args.load_model()?,
        })
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// The layers that have Engram blocks.
    pub(crate) fn engram_layers(&self) -> Vec<usize> {
        let layers = self.engram.iter().flat_map(EngramBlocks::layers);
        layers.collect()
    }

    /// Computes one window by itself.
    pub(crate) fn pass(&self, tokens: &[u32], rows: Rows) -> Result<WindowPass> {
        let mut cache = self.model.cache(1);
        let engram = self.engram.as_ref().filter(|_| rows == Rows::Added);
        let Some(engram) = engram else {
            let mut streams = Streams::new(());
            let logits = self.model.forward(&[tokens], &mut cache, &mut streams)?;
            return Ok(WindowPass::new(streams.depths(), logits, &[]));
        };
        let mut session = engram.session(1);
        session.record_gates();
        let mut streams = Streams::new(&mut session);
        let logits = self.model.forward(&[tokens], &mut cache, &mut streams)?;
        let depths = streams.depths().to_vec();
        Ok(WindowPass::new(&depths, logits, session.gates()))
    }
}

impl WindowPass {
    fn new(depths: &[Tensor], mut logits: Vec<Tensor>, gates: &[Tensor]) -> Self {
        Self {
            depths: depths.to_vec(),
            logits: logits.remove(0),
            gates: gates.to_vec(),
        }
    }
}
