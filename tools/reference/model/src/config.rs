//! The model configuration, read from `config.json` and checked.

mod raw;

use std::path::Path;

use engram_checkpoint::{CheckpointError, read_json};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Error,
    rope::{RopeConfig, Yarn},
    routing::{Method, Routing},
};

use raw::{OneOrMore, Raw, RawRope};

/// The largest size that is accepted, so that no product of sizes overflows.
const MOST: usize = 1 << 20;

/// The most copies of the residual stream that are accepted.
const MOST_COPIES: usize = 64;

/// The least positive number.
const LEAST: f64 = f32::MIN_POSITIVE as f64;

/// The sizes and choices of a DeepSeek-V2 or -V3 model.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    /// Inner size of dense layers.
    pub(crate) inner: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    /// Rank of the latent of queries; `None` if queries are projected in one step.
    pub(crate) query_rank: Option<usize>,
    pub(crate) latent_rank: usize,
    /// Values of a head's queries and keys that are not rotated.
    pub(crate) plain_dim: usize,
    /// Values of a head's queries and keys that are.
    pub(crate) rotated_dim: usize,
    pub(crate) value_dim: usize,
    pub(crate) attention_bias: bool,
    pub(crate) norm_eps: f64,
    /// Whether the output head shares the weights of the embedding.
    pub(crate) tied: bool,
    pub(crate) rope: RopeConfig,
    /// `None` if all layers are dense.
    pub(crate) moe: Option<MoeConfig>,
    /// `None` if the residual stream has one copy.
    pub(crate) hyper: Option<HyperConfig>,
    /// The token that stands for a part of an image.
    pub(crate) image_token: Option<u32>,
    pub(crate) eos_tokens: Vec<u32>,
}

/// The connections between the copies of the residual stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HyperConfig {
    pub(crate) copies: usize,
    /// Sinkhorn iterations towards a doubly stochastic matrix, at least one.
    pub(crate) steps: usize,
    pub(crate) eps: f64,
}

/// The layers of experts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MoeConfig {
    pub(crate) first_layer: usize,
    pub(crate) experts: usize,
    /// Inner size of an expert.
    pub(crate) inner: usize,
    /// Number of shared experts, which are computed as one of their joint size; may be zero.
    pub(crate) shared: usize,
    pub(crate) routing: Routing,
}

impl Config {
    /// Reads `path`, the `config.json` of a model whose `model_type` is `deepseek_v3` or `deepseek_v2`.
    ///
    /// Absent choices are those of transformers; absent sizes are errors.
    ///
    /// # Errors
    /// A file that cannot be read or is no JSON, a missing size, a field that contradicts another, and all that
    /// changes the computation but is not known here: another activation, routing or rotary scaling,
    /// quantised weights, experts in some of the layers only.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let raw: Raw = read_json(path)?;
        Checked { path, raw: &raw }.config()
    }

    /// As [`Self::from_file`], of the configuration `json`, which is or will be at `path`.
    ///
    /// # Errors
    /// As [`Self::from_file`].
    pub fn from_json(path: &Path, json: &Value) -> Result<Self, Error> {
        let raw = Raw::deserialize(json).map_err(|cause| CheckpointError::Json {
            path: path.into(),
            cause,
        })?;
        Checked { path, raw: &raw }.config()
    }

    /// Tokens in the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Width of the residual stream.
    pub fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    /// Decoder layers.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Copies of the residual stream.
    pub fn copies(&self) -> usize {
        self.hyper.as_ref().map_or(1, |hyper| hyper.copies)
    }

    /// Tokens that end a text.
    pub fn eos_tokens(&self) -> &[u32] {
        &self.eos_tokens
    }

    /// The factor that attention scores are scaled by.
    #[expect(clippy::cast_precision_loss, reason = "sizes are below 2^24")]
    pub(crate) fn attention_scale(&self) -> f64 {
        let yarn = self.rope.yarn.as_ref().map_or(1.0, Yarn::score_scale);
        yarn / ((self.plain_dim + self.rotated_dim) as f64).sqrt()
    }
}

/// The error for a field of the configuration at `path`.
pub(crate) fn config_fault(path: &Path, field: &str, found: String, expected: String) -> Error {
    let fault = CheckpointError::Config {
        path: path.into(),
        field: field.into(),
        found,
        expected,
    };
    fault.into()
}

/// A configuration that is being checked.
struct Checked<'a> {
    path: &'a Path,
    raw: &'a Raw,
}

impl Checked<'_> {
    fn config(&self) -> Result<Config, Error> {
        let raw = self.raw;
        self.known_model()?;
        let config = Config {
            vocab_size: self.size("vocab_size", raw.vocab_size)?,
            hidden_size: self.size("hidden_size", raw.hidden_size)?,
            inner: self.size("intermediate_size", raw.intermediate_size)?,
            layers: self.size("num_hidden_layers", raw.num_hidden_layers)?,
            heads: self.size("num_attention_heads", raw.num_attention_heads)?,
            query_rank: raw
                .q_lora_rank
                .map(|rank| self.size("q_lora_rank", rank))
                .transpose()?,
            latent_rank: self.size("kv_lora_rank", raw.kv_lora_rank)?,
            plain_dim: self.size("qk_nope_head_dim", raw.qk_nope_head_dim)?,
            rotated_dim: self.size("qk_rope_head_dim", raw.qk_rope_head_dim)?,
            value_dim: self.size("v_head_dim", raw.v_head_dim)?,
            attention_bias: raw.attention_bias,
            norm_eps: self.number("rms_norm_eps", raw.rms_norm_eps, LEAST)?,
            tied: raw.tie_word_embeddings,
            rope: self.rope()?,
            moe: self.moe()?,
            hyper: self.hyper()?,
            image_token: raw.image_token_id,
            eos_tokens: match raw.eos_token_id.clone() {
                None => Vec::new(),
                Some(OneOrMore::One(token)) => vec![token],
                Some(OneOrMore::More(tokens)) => tokens,
            },
        };
        let pairs = raw.qk_rope_head_dim;
        self.expect(
            pairs.is_multiple_of(2),
            "qk_rope_head_dim",
            pairs,
            "an even number",
        )?;
        let (heads, keys) = (raw.num_attention_heads, raw.num_key_value_heads);
        self.expect(
            keys.is_none_or(|keys| keys == heads),
            "num_key_value_heads",
            keys.unwrap_or_default(),
            format!("{heads}, as num_attention_heads: every head has keys of its own"),
        )?;
        Ok(config)
    }

    /// Refuses settings that ask for a computation which is not implemented.
    fn known_model(&self) -> Result<(), Error> {
        let raw = self.raw;
        let known = matches!(raw.model_type.as_str(), "deepseek_v2" | "deepseek_v3");
        self.expect(
            known,
            "model_type",
            &raw.model_type,
            "deepseek_v2 or deepseek_v3",
        )?;
        self.expect(
            raw.hidden_act == "silu",
            "hidden_act",
            &raw.hidden_act,
            "silu",
        )?;
        self.expect(!raw.mlp_bias, "mlp_bias", raw.mlp_bias, "false")?;
        let every = raw.moe_layer_freq;
        self.expect(
            every == 1,
            "moe_layer_freq",
            every,
            "1: experts in every later layer",
        )?;
        let quantized = raw.quantization_config.is_some();
        self.expect(
            !quantized,
            "quantization_config",
            "set",
            "none: weights of F32, BF16, F16 or F64",
        )
    }

    fn is_v3(&self) -> bool {
        self.raw.model_type == "deepseek_v3"
    }

    fn hyper(&self) -> Result<Option<HyperConfig>, Error> {
        let raw = self.raw;
        let copies = raw.hc_mult.or(raw.hc_count).unwrap_or(1);
        let expected = format!("1 to {MOST_COPIES}");
        self.expect(
            (1..=MOST_COPIES).contains(&copies),
            "hc_mult",
            copies,
            expected,
        )?;
        let count = raw.hc_count.unwrap_or(copies);
        let expected = format!("{copies}, as hc_mult");
        self.expect(count == copies, "hc_count", count, expected)?;
        if copies == 1 {
            return Ok(None);
        }
        Ok(Some(HyperConfig {
            copies,
            steps: self.size("hc_sinkhorn_iters", raw.hc_sinkhorn_iters)?,
            eps: self.number("hc_eps", raw.hc_eps, LEAST)?,
        }))
    }

    fn moe(&self) -> Result<Option<MoeConfig>, Error> {
        let raw = self.raw;
        let first_layer = raw.first_k_dense_replace;
        if first_layer >= raw.num_hidden_layers {
            return Ok(None);
        }
        let inner = self.given("moe_intermediate_size", raw.moe_intermediate_size)?;
        let shared = raw.n_shared_experts.unwrap_or(0);
        self.expect(
            shared <= MOST,
            "n_shared_experts",
            shared,
            format!("at most {MOST}"),
        )?;
        let experts = self.given("n_routed_experts", raw.n_routed_experts)?;
        Ok(Some(MoeConfig {
            first_layer,
            experts,
            inner,
            shared,
            routing: self.routing(experts)?,
        }))
    }

    fn routing(&self, experts: usize) -> Result<Routing, Error> {
        let raw = self.raw;
        let method = self.method()?;
        let (groups, best_groups) = match method {
            Method::Greedy => (1, 1),
            Method::Corrected | Method::GroupLimited => (
                self.given("n_group", raw.n_group)?,
                self.given("topk_group", raw.topk_group)?,
            ),
        };
        // DeepSeek-V3 ranks a group by its two best experts.
        let least = if method == Method::Corrected { 2 } else { 1 };
        let fits = experts.is_multiple_of(groups) && experts / groups >= least;
        let expected =
            format!("a divisor of the {experts} experts, with {least} or more in a group");
        self.expect(fits, "n_group", groups, expected)?;
        self.expect(
            best_groups <= groups,
            "topk_group",
            best_groups,
            format!("at most {groups}"),
        )?;
        let chosen = self.given("num_experts_per_tok", raw.num_experts_per_tok)?;
        let eligible = experts / groups * best_groups;
        let expected = format!("at most {eligible}, the experts of {best_groups} groups");
        self.expect(chosen <= eligible, "num_experts_per_tok", chosen, expected)?;
        let scale = raw.routed_scaling_factor;
        self.number("routed_scaling_factor", scale, LEAST)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "weights are f32, as in the models"
        )]
        let scale = scale as f32;
        Ok(Routing {
            method,
            groups,
            best_groups,
            chosen,
            normalize: raw.norm_topk_prob.unwrap_or(self.is_v3()),
            scale,
        })
    }

    fn method(&self) -> Result<Method, Error> {
        let defaults = if self.is_v3() {
            ("sigmoid", "noaux_tc")
        } else {
            ("softmax", "greedy")
        };
        let scoring = self.raw.scoring_func.as_deref().unwrap_or(defaults.0);
        let topk = self.raw.topk_method.as_deref().unwrap_or(defaults.1);
        let (method, topk_methods) = match (scoring, topk) {
            ("sigmoid", "noaux_tc") => (Some(Method::Corrected), "noaux_tc"),
            ("sigmoid", _) => (None, "noaux_tc, as scores are of sigmoid"),
            ("softmax", "greedy") => (Some(Method::Greedy), "greedy"),
            ("softmax", "group_limited_greedy") => (Some(Method::GroupLimited), "greedy"),
            ("softmax", _) => (
                None,
                "greedy or group_limited_greedy, as scores are of softmax",
            ),
            _ => return Err(self.fault("scoring_func", scoring, "sigmoid or softmax")),
        };
        let method = method.ok_or_else(|| self.fault("topk_method", topk, topk_methods))?;
        // DeepSeek's code then leaves the scale out, transformers ignores it, and no known model asks for it.
        let normalized = self.raw.norm_topk_prob == Some(true);
        let fits = method == Method::Corrected || !normalized;
        self.expect(
            fits,
            "norm_topk_prob",
            true,
            "false, as scores are of softmax",
        )?;
        Ok(method)
    }

    fn rope(&self) -> Result<RopeConfig, Error> {
        let raw = self.raw;
        let none = RawRope::default();
        let scaling = raw
            .rope_scaling
            .as_ref()
            .or(raw.rope_parameters.as_ref())
            .unwrap_or(&none);
        let partial = scaling
            .partial_rotary_factor
            .or(raw.partial_rotary_factor)
            .unwrap_or(1.0);
        self.expect(partial == 1.0, "partial_rotary_factor", partial, "1")?;
        let theta = scaling.rope_theta.or(raw.rope_theta).unwrap_or(1e4);
        let kind = scaling.rope_type.as_deref().or(scaling.kind.as_deref());
        let yarn = match kind.unwrap_or("default") {
            "default" => None,
            "yarn" => Some(self.yarn(scaling)?),
            other => return Err(self.fault("rope_type", other, "default or yarn")),
        };
        Ok(RopeConfig {
            // A base of one would give all pairs the same frequency, and infinite bounds between them.
            theta: self.number("rope_theta", theta, 1.0 + f64::EPSILON)?,
            interleave: raw.rope_interleave.unwrap_or(true),
            yarn,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "lengths of contexts are small")]
    fn yarn(&self, raw: &RawRope) -> Result<Yarn, Error> {
        let factor = raw
            .factor
            .ok_or_else(|| self.fault("factor", "absent", "a number"))?;
        let len = raw
            .original_max_position_embeddings
            .or(self.raw.max_position_embeddings);
        let len = self.given("original_max_position_embeddings", len)?;
        // As in transformers, zero is the same as none.
        let or = |beta: Option<f64>, default| beta.filter(|&beta| beta != 0.0).unwrap_or(default);
        let positive = |field, value| self.number(field, value, LEAST);
        let optional = |field, value: Option<f64>, least| {
            value
                .map(|value| self.number(field, value, least))
                .transpose()
        };
        Ok(Yarn {
            factor: self.number("factor", factor, 1.0)?,
            original_len: len as f64,
            beta_fast: positive("beta_fast", or(raw.beta_fast, 32.0))?,
            beta_slow: positive("beta_slow", or(raw.beta_slow, 1.0))?,
            truncate: raw.truncate.unwrap_or(true),
            attention_factor: optional("attention_factor", raw.attention_factor, LEAST)?,
            mscale: optional("mscale", raw.mscale, 0.0)?,
            mscale_all_dim: optional("mscale_all_dim", raw.mscale_all_dim, 0.0)?,
        })
    }

    /// A size that must be there.
    fn given(&self, field: &'static str, value: Option<usize>) -> Result<usize, Error> {
        let value = value.ok_or_else(|| self.fault(field, "absent", "a number"))?;
        self.size(field, value)
    }

    fn size(&self, field: &'static str, value: usize) -> Result<usize, Error> {
        self.expect(
            (1..=MOST).contains(&value),
            field,
            value,
            format!("1 to {MOST}"),
        )?;
        Ok(value)
    }

    fn number(&self, field: &'static str, value: f64, least: f64) -> Result<f64, Error> {
        // Models are computed in f32.
        let fits = value >= least && value <= f64::from(f32::MAX);
        self.expect(
            fits,
            field,
            value,
            format!("a number from {least} on, in f32"),
        )?;
        Ok(value)
    }

    fn expect(
        &self,
        fits: bool,
        field: &'static str,
        found: impl ToString,
        expected: impl ToString,
    ) -> Result<(), Error> {
        if fits {
            Ok(())
        } else {
            Err(self.fault(field, found, expected))
        }
    }

    fn fault(&self, field: &'static str, found: impl ToString, expected: impl ToString) -> Error {
        let (found, expected) = (found.to_string(), expected.to_string());
        config_fault(self.path, field, found, expected)
    }
}
