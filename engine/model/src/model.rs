//! The decoder, from tokens to logits.

use std::path::Path;

use candle_core::{Device, Tensor};
use candle_nn::{Embedding, Linear, Module, RmsNorm};

use crate::{
    Cache, Config, Error, Memory, attention::Context, error::expect_shape, layer::Layer,
    rope::Rotary, weights::Weights,
};

/// A decoder of DeepSeek-V2 or -V3, computed in f32. It gives the logits of transformers.
#[derive(Debug, Clone)]
pub struct Model {
    config: Config,
    embedding: Embedding,
    layers: Vec<Layer>,
    norm: RmsNorm,
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
    /// old checkpoints store, and the layers from `num_hidden_layers` on, which predict further tokens.
    ///
    /// # Errors
    /// Those of [`Config::from_file`], before any other file is opened; files that cannot be read or are damaged;
    /// tensors that are missing, of another shape, of another type, or unknown.
    pub fn load(dir: impl AsRef<Path>, device: &Device) -> Result<Self, Error> {
        let dir = dir.as_ref();
        let config = Config::from_file(dir.join("config.json"))?;
        let mut weights = Weights::open(dir, device)?;
        let mut root = weights.root();
        let shape = [config.vocab_size, config.hidden_size];
        let embedding = root.tensor("model.embed_tokens.weight", &shape)?;
        let head = if config.tied {
            embedding.clone()
        } else {
            root.tensor("lm_head.weight", &shape)?
        };
        let layers = (0..config.layers)
            .map(|index| Layer::load(root.at(format!("model.layers.{index}")), &config, index))
            .collect::<Result<_, Error>>()?;
        let norm = root.norm("model.norm", config.hidden_size, config.norm_eps)?;
        weights.finish(|name| is_ignored(name, config.layers))?;
        Ok(Self {
            embedding: Embedding::new(embedding, config.hidden_size),
            layers,
            norm,
            head: Linear::new(head, None),
            rotary: Rotary::new(&config.rope, config.rotated_dim),
            device: device.clone(),
            config,
        })
    }

    /// What the model was built by.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A cache for this model that has seen no tokens.
    pub fn cache(&self) -> Cache {
        Cache::new(self.layers.len())
    }

    /// The logits after each of `tokens`, `[batch, tokens, vocab_size]` in f32. Tokens are `[batch, tokens]` in
    /// u32 and follow those of `cache`, to which they are appended.
    ///
    /// The result does not depend on how tokens are split into calls, but for rounding. Takes memory for
    /// `batch * heads * tokens * (cache.len() + tokens)` scores at a time; there is no limit of positions.
    ///
    /// # Errors
    /// No tokens, a token outside the vocabulary, a cache of another model or batch, whatever `memory` fails
    /// with. The cache then is as it was.
    pub fn forward(
        &self,
        tokens: &Tensor,
        cache: &mut Cache,
        memory: &mut dyn Memory,
    ) -> Result<Tensor, Error> {
        let (batch, count) = tokens.dims2()?;
        self.check_tokens(tokens)?;
        self.check_cache(cache, batch)?;
        let context = Context::new(&self.rotary, cache.len(), count, &self.device)?;
        let mut hidden = self.embedding.forward(&tokens.to_device(&self.device)?)?;
        for (index, layer) in self.layers.iter().enumerate() {
            if let Some(added) = memory.add(index, &hidden)? {
                expect_shape("of the memory", &added, hidden.dims())?;
                hidden = added;
            }
            hidden = layer.forward(&hidden, &context, cache)?;
        }
        let logits = self.head.forward(&self.norm.forward(&hidden)?)?;
        cache.advance(count);
        Ok(logits)
    }

    fn check_tokens(&self, tokens: &Tensor) -> Result<(), Error> {
        if tokens.elem_count() == 0 {
            return Err(Error::NoTokens {
                found: tokens.dims().to_vec(),
            });
        }
        for (sequence, tokens) in tokens.to_vec2::<u32>()?.into_iter().enumerate() {
            for (position, token) in tokens.into_iter().enumerate() {
                if token as usize >= self.config.vocab_size {
                    return Err(Error::Token {
                        token,
                        sequence,
                        position,
                        vocabulary: self.config.vocab_size,
                    });
                }
            }
        }
        Ok(())
    }

    fn check_cache(&self, cache: &Cache, batch: usize) -> Result<(), Error> {
        let mut sizes = vec![("the number of layers", cache.layers(), self.layers.len())];
        if let Some(kept) = cache.kept(0) {
            let (sequences, _, latent) = kept.latent.dims3()?;
            let rotated = kept.rotated.dim(2)?;
            sizes.push(("the number of sequences", sequences, batch));
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
