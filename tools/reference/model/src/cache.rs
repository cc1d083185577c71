//! The key and value cache of attention.

use candle_core::{Result, Tensor};

/// What a layer caches: not keys and values, but the latents that both are computed from, the same for all heads.
#[derive(Debug, Clone)]
pub(crate) struct Latents {
    /// `[sequences, slots, kv_lora_rank]`, normed.
    pub(crate) latent: Tensor,
    /// `[sequences, slots, qk_rope_head_dim]`, rotated.
    pub(crate) rotated: Tensor,
}

/// The key and value cache of some sequences, from which a [`Model`](crate::Model) goes on.
///
/// All sequences of a pass take as many slots as the one with the most tokens; a slot without a token, or whose
/// token has been taken back, is a hole that no token sees. It takes
/// `slots * (kv_lora_rank + qk_rope_head_dim) * 4` bytes for each sequence and layer. Every call of the model copies
/// it once, to grow it.
#[derive(Debug, Clone)]
pub struct Cache {
    layers: Vec<Option<Latents>>,
    sequences: Vec<Slots>,
}

/// The position of the token in each slot of a sequence, or a hole.
#[derive(Debug, Clone, Default)]
struct Slots {
    positions: Vec<Option<usize>>,
    len: usize,
}

impl Slots {
    fn append(&mut self, tokens: usize, slots: usize) {
        let positions = (self.len..self.len + tokens).map(Some);
        self.positions.extend(positions);
        self.positions
            .resize(self.positions.len() + slots - tokens, None);
        self.len += tokens;
    }

    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        for position in &mut self.positions {
            *position = position.filter(|&position| position < len);
        }
    }
}

impl Cache {
    pub(crate) fn new(layers: usize, sequences: usize) -> Self {
        Self {
            layers: vec![None; layers],
            sequences: vec![Slots::default(); sequences],
        }
    }

    /// The number of sequences.
    pub fn sequences(&self) -> usize {
        self.sequences.len()
    }

    /// The number of tokens of the sequence at index `sequence`.
    ///
    /// # Panics
    /// If there are not so many sequences.
    pub fn len(&self, sequence: usize) -> usize {
        self.sequences[sequence].len
    }

    /// The number of tokens of each sequence.
    pub fn lens(&self) -> Vec<usize> {
        self.sequences.iter().map(|slots| slots.len).collect()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.sequences.iter().all(|slots| slots.len == 0)
    }

    /// Drops all tokens of one sequence after the first `len`, such as rejected speculative ones. Does nothing if
    /// there are no more than `len`. Their memory is freed by the next call of the model.
    ///
    /// # Panics
    /// If there are not so many sequences.
    pub fn truncate(&mut self, sequence: usize, len: usize) {
        self.sequences[sequence].truncate(len);
        let used = self.sequences.iter().map(|slots| {
            let last = slots.positions.iter().rposition(Option::is_some);
            last.map_or(0, |last| last + 1)
        });
        let used = used.max().unwrap_or(0);
        for slots in &mut self.sequences {
            slots.positions.truncate(used);
        }
    }

    pub(crate) fn layers(&self) -> usize {
        self.layers.len()
    }

    pub(crate) fn slots(&self) -> usize {
        self.sequences
            .first()
            .map_or(0, |slots| slots.positions.len())
    }

    /// The positions in the slots of each sequence, with `tokens` more.
    pub(crate) fn positions_with(&self, tokens: &[usize]) -> Vec<Vec<Option<usize>>> {
        let mut after = self.sequences.clone();
        append(&mut after, tokens);
        after.into_iter().map(|slots| slots.positions).collect()
    }

    /// What `layer` keeps, if any tokens count.
    pub(crate) fn kept(&self, layer: usize) -> Option<&Latents> {
        self.layers[layer].as_ref().filter(|_| self.slots() > 0)
    }

    /// Appends `new` to what `layer` keeps and returns all of it. It counts once [`Self::advance`] is called
    /// after the last layer: a pass that fails half-way leaves the cache as it was.
    pub(crate) fn append(&mut self, layer: usize, new: Latents) -> Result<&Latents> {
        let slots = self.slots();
        let all = match self.kept(layer) {
            None => new,
            Some(kept) => {
                let join = |kept: &Tensor, new: &Tensor| {
                    Tensor::cat(&[&kept.narrow(1, 0, slots)?, new], 1)?.contiguous()
                };
                Latents {
                    latent: join(&kept.latent, &new.latent)?,
                    rotated: join(&kept.rotated, &new.rotated)?,
                }
            }
        };
        Ok(self.layers[layer].insert(all))
    }

    /// Makes what has been appended count: `tokens` for each sequence.
    pub(crate) fn advance(&mut self, tokens: &[usize]) {
        append(&mut self.sequences, tokens);
    }
}

fn append(sequences: &mut [Slots], tokens: &[usize]) {
    let slots = tokens.iter().max().copied().unwrap_or(0);
    for (sequence, &tokens) in sequences.iter_mut().zip(tokens) {
        sequence.append(tokens, slots);
    }
}
