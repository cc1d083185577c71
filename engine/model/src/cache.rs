//! What attention keeps of the tokens before.

use candle_core::{Result, Tensor};

/// What a layer keeps: not keys and values but what both are made of, the same for all heads.
#[derive(Debug, Clone)]
pub(crate) struct Latents {
    /// `[batch, tokens, kv_lora_rank]`, normed.
    pub(crate) latent: Tensor,
    /// `[batch, tokens, qk_rope_head_dim]`, rotated.
    pub(crate) rotated: Tensor,
}

/// The tokens that sequences of one length have had so far, for a [`Model`](crate::Model) to go on from.
///
/// Memory is `len * (kv_lora_rank + qk_rope_head_dim) * 4` bytes for each sequence and layer. Every call of the
/// model copies it once, to grow it.
#[derive(Debug, Clone)]
pub struct Cache {
    layers: Vec<Option<Latents>>,
    len: usize,
}

impl Cache {
    pub(crate) fn new(layers: usize) -> Self {
        Self {
            layers: vec![None; layers],
            len: 0,
        }
    }

    /// Tokens of each sequence.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets all tokens but the first `len`; nothing where there are fewer. Memory is freed by the next call
    /// of the model.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Forgets all tokens and frees their memory; the next ones may come in another number of sequences.
    pub fn clear(&mut self) {
        *self = Self::new(self.layers.len());
    }

    pub(crate) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// What `layer` keeps, if any tokens count.
    pub(crate) fn kept(&self, layer: usize) -> Option<&Latents> {
        self.layers[layer].as_ref().filter(|_| self.len > 0)
    }

    /// Appends `new` to what `layer` keeps and returns all of it. It counts once [`Self::advance`] is called
    /// after the last layer: a pass that fails half-way leaves the cache as it was.
    pub(crate) fn append(&mut self, layer: usize, new: Latents) -> Result<&Latents> {
        let all = match self.kept(layer) {
            None => new,
            Some(kept) => {
                let join = |kept: &Tensor, new: &Tensor| {
                    Tensor::cat(&[&kept.narrow(1, 0, self.len)?, new], 1)?.contiguous()
                };
                Latents {
                    latent: join(&kept.latent, &new.latent)?,
                    rotated: join(&kept.rotated, &new.rotated)?,
                }
            }
        };
        Ok(self.layers[layer].insert(all))
    }

    pub(crate) fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }
}
