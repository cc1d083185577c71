//! What is trained, and how.

use std::path::Path;

use engram_checkpoint::{CONFIG_FILE, Family};
use engram_model::Config;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Error, Vocabulary};

/// Taps of the short convolution, as the article has it.
pub(crate) const KERNEL: u32 = 4;

/// The sizes of a model and the way it is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Seed of everything random: weights, rows, the order of the text.
    pub seed: u64,
    /// Tokens of the vocabulary, at most.
    pub vocabulary: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Decoder layers; all have experts.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Values of a head that are not rotated, and of its value.
    pub head: usize,
    /// Values of a head that are rotated, an even number.
    pub rotated: usize,
    /// Size of the latent that keys and values are computed from.
    pub latent: usize,
    /// Routed experts of a layer.
    pub experts: usize,
    /// Experts that a token is given to, besides the shared one.
    pub chosen: usize,
    /// Width of an expert.
    pub inner: usize,
    /// The Engram blocks, or none.
    pub engram: Option<EngramRecipe>,
    /// Sequences of a step.
    pub sequences: usize,
    /// Tokens of a sequence.
    pub window: usize,
    /// Steps in all.
    pub steps: usize,
    /// Steps over which the learning rate rises.
    pub warmup: usize,
    /// The largest learning rate.
    pub rate: f64,
    /// How many times faster rows learn.
    pub rows_rate: f64,
    /// Weight decay of matrices in a step, as a share of the learning rate.
    pub decay: f64,
    /// Gradients are clipped to this norm, all together.
    pub clip: f64,
    /// How far the balance correction of an expert moves in a step.
    pub balance: f64,
    /// Tokens of the held-out text that are measured, at most.
    pub measured: usize,
}

/// The Engram blocks of a model, in the layout of the authors' demo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngramRecipe {
    /// Layers that blocks are ahead of.
    pub layers: Vec<u32>,
    /// The largest n-gram order.
    pub max_order: u32,
    /// Heads of each order.
    pub heads: u32,
    /// Values of a row.
    pub width: u32,
    /// Rows of all tables together; some more, as the rows of each column are a prime number.
    pub rows: u64,
}

impl EngramRecipe {
    /// Columns of a table.
    pub fn columns(&self) -> u64 {
        u64::from(self.max_order.saturating_sub(1)) * u64::from(self.heads)
    }
}

impl Recipe {
    /// Checks what the configurations made from the recipe do not check.
    ///
    /// # Errors
    /// Sizes or rates that make no sense.
    pub fn check(&self) -> Result<(), Error> {
        let fault = |field, found: String, expected: &str| {
            Err(Error::Recipe {
                field,
                found,
                expected: expected.into(),
            })
        };
        for (field, size) in [
            ("sequences", self.sequences),
            ("window", self.window),
            ("steps", self.steps),
            ("measured", self.measured),
        ] {
            if size == 0 {
                return fault(field, "0".into(), "1 or more");
            }
        }
        for (field, number) in [
            ("rate", self.rate),
            ("rows_rate", self.rows_rate),
            ("clip", self.clip),
        ] {
            if !(number > 0.0 && number.is_finite()) {
                return fault(field, number.to_string(), "a number above 0");
            }
        }
        for (field, number) in [("decay", self.decay), ("balance", self.balance)] {
            if !(0.0..1.0).contains(&number) {
                return fault(field, number.to_string(), "0 or more, and below 1");
            }
        }
        match &self.engram {
            Some(engram) if engram.columns() * engram.layers.len() as u64 == 0 => fault(
                "engram",
                format!("{engram:?}"),
                "a layer, an order of 2 and a head at least",
            ),
            _ => Ok(()),
        }
    }

    /// The `config.json` of the model with the tokens of `vocabulary`.
    pub fn config_json(&self, vocabulary: &Vocabulary) -> Value {
        let mut config = json!({
            "architectures": ["DeepseekV3ForCausalLM"],
            "model_type": "deepseek_v3",
            "vocab_size": vocabulary.size(),
            "hidden_size": self.hidden,
            "intermediate_size": self.inner * (self.chosen + 1),
            "moe_intermediate_size": self.inner,
            "num_hidden_layers": self.layers,
            "first_k_dense_replace": 0,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.heads,
            "q_lora_rank": null,
            "kv_lora_rank": self.latent,
            "qk_nope_head_dim": self.head,
            "qk_rope_head_dim": self.rotated,
            "v_head_dim": self.head,
            "n_routed_experts": self.experts,
            "n_shared_experts": 1,
            "num_experts_per_tok": self.chosen,
            "n_group": 1,
            "topk_group": 1,
            "norm_topk_prob": true,
            "routed_scaling_factor": 1.0,
            "scoring_func": "sigmoid",
            "topk_method": "noaux_tc",
            "rms_norm_eps": 1e-6,
            "rope_theta": 10_000.0,
            "tie_word_embeddings": false,
            "bos_token_id": vocabulary.bos(),
            "eos_token_id": vocabulary.eos(),
            "hc_mult": 1,
        });
        if let Some(engram) = &self.engram {
            let tables = engram.columns() * engram.layers.len() as u64;
            let orders = engram.max_order as usize - 1;
            config["engram_vocab_size"] = vec![(engram.rows / tables).max(1); orders].into();
            config["max_ngram_size"] = engram.max_order.into();
            config["n_embed_per_ngram"] = (engram.heads * engram.width).into();
            config["n_head_per_ngram"] = engram.heads.into();
            config["layer_ids"] = engram.layers.clone().into();
            config["pad_id"] = vocabulary.pad().into();
            config["seed"] = 0.into();
            config["kernel_size"] = KERNEL.into();
        }
        config
    }

    /// The decoder's configuration and that of its Engram blocks, as a checkpoint is read.
    ///
    /// # Errors
    /// Sizes that a checkpoint could not have.
    pub(crate) fn configs(
        &self,
        vocabulary: &Vocabulary,
    ) -> Result<(Config, Option<Family>), Error> {
        let json = self.config_json(vocabulary);
        let path = Path::new(CONFIG_FILE);
        let family = self.engram.as_ref().map(|_| Family::from_json(path, &json));
        Ok((Config::from_json(path, &json)?, family.transpose()?))
    }
}
