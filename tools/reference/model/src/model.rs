//! The decoder, from tokens to logits.

use std::{collections::BTreeMap, path::Path};

use candle_core::{Device, IndexOp, Tensor};
use candle_nn::{Embedding, Linear, Module};
use engram_checkpoint::CONFIG_FILE;

use crate::{
    Cache, Config, Error, LayerHook,
    attention::Context,
    error::expect_shape,
    grad::{Norm, cross_entropy},
    hyper::Collapse,
    layer::Layer,
    memory_block::is_part_of_block,
    rope::Rotary,
    weights::{Init, Weights},
};

/// A decoder of DeepSeek-V2 or -V3, computed in f32. It gives the logits of transformers.
///
/// With `hc_mult` copies of the residual stream, they are joined by DeepSeek-V4's hyper-connections.
#[derive(Debug, Clone)]
pub struct Model {
    config: Config,
    embedding: Embedding,
    layers: Vec<Layer>,
    collapse: Collapse,
    norm: Norm,
    head: Linear,
    rotary: Rotary,
    device: Device,
}

impl Model {
    /// Loads `config.json` and `model.safetensors`, or the files that `model.safetensors.index.json` names, from
    /// the folder `dir`. Weights of F32, BF16, F16 or F64 take four bytes each on `device`.
    ///
    /// A tensor that the configuration has no place for is an error, for the logits could not be right;
    /// an `lm_head.weight` beside a tied embedding is one. Left out are the frequencies of rotary embeddings, which
    /// old checkpoints store, the layers from `num_hidden_layers` on, which predict further tokens, and what is
    /// below `engram.` or `ple.` of a layer: that is for [`EngramBlocks`](crate::EngramBlocks).
    ///
    /// # Errors
    /// Those of [`Config::from_file`], before any other file is opened; files that cannot be read or are damaged;
    /// tensors that are missing, of another shape, of another type, or unknown.
    pub fn load(dir: impl AsRef<Path>, device: &Device) -> Result<Self, Error> {
        let dir = dir.as_ref();
        let config = Config::from_file(dir.join(CONFIG_FILE))?;
        let mut weights = Weights::open(dir, device)?;
        let model = Self::build(config, &mut weights, device)?;
        let layers = model.layers.len();
        weights.finish(|name| is_ignored(name, layers) || is_part_of_block(name))?;
        Ok(model)
    }

    /// The tensors of a model that has learned nothing, by the names that [`Self::load`] asks for: projections
    /// that keep the size of values, norms of one. The same `seed` gives the same.
    ///
    /// # Errors
    /// A computation that fails.
    pub fn fresh_tensors(config: &Config, seed: u64) -> Result<BTreeMap<String, Tensor>, Error> {
        let mut weights = Weights::fresh(seed, &Device::Cpu);
        Self::build(config.clone(), &mut weights, &Device::Cpu)?;
        Ok(weights.into_made())
    }

    /// A model of `tensors`, which are on `device` and have the names that [`Self::load`] asks for. It tracks what they
    /// track, so gradients go back to variables among them. What is made of tensors is made here, once: a model is
    /// built anew after variables have changed. That copies nothing large.
    ///
    /// # Errors
    /// Tensors that are missing, of another shape, or unknown but for those of Engram blocks.
    pub fn from_tensors(
        config: &Config,
        tensors: &BTreeMap<String, Tensor>,
        device: &Device,
    ) -> Result<Self, Error> {
        let mut weights = Weights::given(tensors, device);
        let model = Self::build(config.clone(), &mut weights, device)?;
        weights.finish(is_part_of_block)?;
        Ok(model)
    }

    fn build(config: Config, weights: &mut Weights, device: &Device) -> Result<Self, Error> {
        let mut root = weights.root();
        let shape = [config.vocab_size, config.hidden_size];
        let embedding = root.tensor("model.embed_tokens.weight", &shape, Init::Random(1.0))?;
        let head = if config.tied {
            Linear::new(embedding.clone(), None)
        } else {
            root.linear("lm_head", config.hidden_size, config.vocab_size, false)?
        };
        let layers = (0..config.layers)
            .map(|index| Layer::load(root.at(format!("model.layers.{index}")), &config, index))
            .collect::<Result<_, Error>>()?;
        let collapse = Collapse::load(&mut root, &config)?;
        let norm = root.norm("model.norm", config.hidden_size, config.norm_eps)?;
        Ok(Self {
            embedding: Embedding::new(embedding, config.hidden_size),
            layers,
            collapse,
            norm,
            head,
            rotary: Rotary::new(&config.rope, config.rotated_dim),
            device: device.clone(),
            config,
        })
    }

    /// What the model was built by.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A cache for this model and so many sequences, which have no tokens yet.
    pub fn cache(&self, sequences: usize) -> Cache {
        Cache::new(self.layers.len(), sequences)
    }

    /// The logits after each of `tokens[s]`, which follow those of sequence `s` in `cache` and are appended to it:
    /// `[tokens, vocab_size]` in f32 for each sequence. Sequences may have different numbers of tokens, some none.
    ///
    /// The result does not depend on how tokens are split into calls or what other sequences there are, but for
    /// rounding. Takes memory for `sequences * heads * tokens * cache slots` scores at a time; there is no limit of
    /// positions.
    ///
    /// # Errors
    /// No tokens, a token outside the vocabulary, a cache of another model or number of sequences, or whatever `hook`
    /// fails with. The cache then is as it was.
    pub fn forward(
        &self,
        tokens: &[&[u32]],
        cache: &mut Cache,
        hook: &mut dyn LayerHook,
    ) -> Result<Vec<Tensor>, Error> {
        let hidden = self.hidden(tokens, cache, hook)?;
        (0..)
            .zip(tokens)
            .map(|(sequence, tokens)| {
                let hidden = hidden.i(sequence)?.narrow(0, 0, tokens.len())?;
                Ok(self.head.forward(&hidden)?)
            })
            .collect()
    }

    /// The mean of what `targets` cost, in nats: `targets[s]` are to follow `tokens[s]`, one by one. Sequences have
    /// equal numbers of tokens. Otherwise as [`Self::forward`]; gradients go back to what the model tracks.
    ///
    /// # Errors
    /// As there, and other numbers of targets than of tokens, or targets outside the vocabulary.
    pub fn loss(
        &self,
        tokens: &[&[u32]],
        targets: &[&[u32]],
        cache: &mut Cache,
        hook: &mut dyn LayerHook,
    ) -> Result<Tensor, Error> {
        self.check_tokens(targets)?;
        let hidden = self.hidden(tokens, cache, hook)?.flatten_to(1)?;
        let targets = targets.concat();
        let count = targets.len();
        let targets = Tensor::from_vec(targets, count, &self.device)?;
        expect_shape("the tensor of targets", &targets, &[hidden.dim(0)?])?;
        Ok(cross_entropy(&hidden, self.head.weight(), &targets)?)
    }

    /// As [`Self::forward`], but only the logits after the last of each sequence's tokens, `[sequences,
    /// vocab_size]`. Those of a sequence without new tokens mean nothing.
    ///
    /// # Errors
    /// As there.
    pub fn forward_last(
        &self,
        tokens: &[&[u32]],
        cache: &mut Cache,
        hook: &mut dyn LayerHook,
    ) -> Result<Tensor, Error> {
        let hidden = self.hidden(tokens, cache, hook)?;
        let last = (0..)
            .zip(tokens)
            .map(|(sequence, tokens)| hidden.i((sequence, tokens.len().saturating_sub(1))))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(self.head.forward(&Tensor::stack(&last, 0)?)?)
    }

    /// What the head makes logits of, `[sequences, most tokens, hidden]`.
    fn hidden(
        &self,
        tokens: &[&[u32]],
        cache: &mut Cache,
        hook: &mut dyn LayerHook,
    ) -> Result<Tensor, Error> {
        self.check(tokens, cache)?;
        let counts: Vec<usize> = tokens.iter().map(|tokens| tokens.len()).collect();
        hook.begin(&cache.lens(), tokens)?;
        let context = Context::new(&self.rotary, cache, &counts, &self.device)?;
        let mut stream = self.embed(tokens)?;
        for (index, layer) in self.layers.iter().enumerate() {
            if let Some(added) = hook.add(index, &stream)? {
                expect_shape(
                    "the residual stream returned by the hook",
                    &added,
                    stream.dims(),
                )?;
                stream = added;
            }
            let mut routed = |tokens: &[usize]| hook.routed(index, tokens);
            stream = layer.forward(&stream, &context, cache, &mut routed)?;
        }
        hook.end(&stream);
        let hidden = self.normed(&stream)?;
        cache.advance(&counts);
        Ok(hidden)
    }

    fn normed(&self, stream: &Tensor) -> candle_core::Result<Tensor> {
        self.norm.forward(&self.collapse.joined(stream)?)
    }

    /// The logits that a residual stream, `[sequences, tokens, copies, hidden_size]`, would give if no layer followed:
    /// `[sequences, tokens, vocab_size]`.
    ///
    /// # Errors
    /// Another shape.
    pub fn read_out(&self, stream: &Tensor) -> Result<Tensor, Error> {
        let (sequences, tokens, _, _) = stream.dims4()?;
        let copies = self.config.copies();
        let shape = [sequences, tokens, copies, self.config.hidden_size];
        expect_shape("the residual stream", stream, &shape)?;
        Ok(self.head.forward(&self.normed(stream)?)?)
    }

    /// The residual stream before the first layer: every copy is the token's embedding.
    fn embed(&self, tokens: &[&[u32]]) -> Result<Tensor, Error> {
        let most = tokens.iter().map(|tokens| tokens.len()).max().unwrap_or(0);
        let padded = tokens
            .iter()
            .flat_map(|tokens| {
                tokens
                    .iter()
                    .copied()
                    .chain(std::iter::repeat_n(0, most - tokens.len()))
            })
            .collect();
        let ids = Tensor::from_vec(padded, (tokens.len(), most), &self.device)?;
        let embedded = self.embedding.forward(&ids)?.unsqueeze(2)?;
        let shape = (
            tokens.len(),
            most,
            self.config.copies(),
            self.config.hidden_size,
        );
        Ok(embedded.broadcast_as(shape)?.contiguous()?)
    }

    pub(crate) fn check(&self, tokens: &[&[u32]], cache: &Cache) -> Result<(), Error> {
        self.check_tokens(tokens)?;
        self.check_cache(cache, tokens.len())
    }

    fn check_tokens(&self, tokens: &[&[u32]]) -> Result<(), Error> {
        if tokens.iter().all(|tokens| tokens.is_empty()) {
            return Err(Error::NoTokens {
                sequences: tokens.len(),
            });
        }
        for (sequence, tokens) in tokens.iter().enumerate() {
            let outside = |&token: &u32| token as usize >= self.config.vocab_size;
            if let Some(position) = tokens.iter().position(outside) {
                return Err(Error::Token {
                    token: tokens[position],
                    sequence,
                    position,
                    vocabulary: self.config.vocab_size,
                });
            }
        }
        Ok(())
    }

    fn check_cache(&self, cache: &Cache, sequences: usize) -> Result<(), Error> {
        let mut sizes = vec![
            ("the number of layers", cache.layers(), self.layers.len()),
            ("the number of sequences", cache.sequences(), sequences),
        ];
        if let Some(kept) = cache.kept(0) {
            let latent = kept.latent.dim(2)?;
            let rotated = kept.rotated.dim(2)?;
            sizes.push(("kv_lora_rank", latent, self.config.latent_rank));
            sizes.push(("qk_rope_head_dim", rotated, self.config.rotated_dim));
        }
        match sizes
            .into_iter()
            .find(|(_, found, expected)| found != expected)
        {
            None => Ok(()),
            Some((field, found, expected)) => Err(Error::Cache {
                field,
                found,
                expected,
            }),
        }
    }
}

/// Whether the tensor `name` has no part in the logits of a model with so many `layers`.
fn is_ignored(name: &str, layers: usize) -> bool {
    let later = || {
        let (index, _) = name.strip_prefix("model.layers.")?.split_once('.')?;
        Some(index.parse::<usize>().ok()? >= layers)
    };
    name.ends_with("rotary_emb.inv_freq") || later() == Some(true)
}
