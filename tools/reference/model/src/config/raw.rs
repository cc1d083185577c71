//! `config.json` as it is written; the names are those of transformers.

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
pub(super) struct Raw {
    pub(super) model_type: String,
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) num_key_value_heads: Option<usize>,
    pub(super) q_lora_rank: Option<usize>,
    pub(super) kv_lora_rank: usize,
    pub(super) qk_nope_head_dim: usize,
    pub(super) qk_rope_head_dim: usize,
    pub(super) v_head_dim: usize,
    pub(super) first_k_dense_replace: usize,
    pub(super) moe_intermediate_size: Option<usize>,
    #[serde(default = "one")]
    pub(super) moe_layer_freq: usize,
    pub(super) n_routed_experts: Option<usize>,
    pub(super) n_shared_experts: Option<usize>,
    pub(super) num_experts_per_tok: Option<usize>,
    pub(super) n_group: Option<usize>,
    pub(super) topk_group: Option<usize>,
    pub(super) scoring_func: Option<String>,
    pub(super) topk_method: Option<String>,
    pub(super) norm_topk_prob: Option<bool>,
    /// Its default differs between versions of the model, so it must be there.
    pub(super) routed_scaling_factor: f64,
    #[serde(default = "silu")]
    pub(super) hidden_act: String,
    #[serde(default)]
    pub(super) attention_bias: bool,
    #[serde(default)]
    pub(super) mlp_bias: bool,
    #[serde(default = "norm_eps")]
    pub(super) rms_norm_eps: f64,
    #[serde(default)]
    pub(super) tie_word_embeddings: bool,
    pub(super) max_position_embeddings: Option<usize>,
    pub(super) rope_interleave: Option<bool>,
    pub(super) rope_theta: Option<f64>,
    pub(super) partial_rotary_factor: Option<f64>,
    /// Where transformers writes it now.
    pub(super) rope_parameters: Option<RawRope>,
    /// Where it was before.
    pub(super) rope_scaling: Option<RawRope>,
    pub(super) quantization_config: Option<Value>,
    /// Copies of the residual stream.
    pub(super) hc_mult: Option<usize>,
    /// What Qwen3.8 calls them.
    pub(super) hc_count: Option<usize>,
    #[serde(default = "sinkhorn_iters")]
    pub(super) hc_sinkhorn_iters: usize,
    #[serde(default = "hc_eps")]
    pub(super) hc_eps: f64,
    pub(super) image_token_id: Option<u32>,
    pub(super) eos_token_id: Option<OneOrMore>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(u32),
    More(Vec<u32>),
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct RawRope {
    pub(super) rope_type: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) rope_theta: Option<f64>,
    pub(super) partial_rotary_factor: Option<f64>,
    pub(super) factor: Option<f64>,
    pub(super) original_max_position_embeddings: Option<usize>,
    pub(super) beta_fast: Option<f64>,
    pub(super) beta_slow: Option<f64>,
    pub(super) truncate: Option<bool>,
    pub(super) attention_factor: Option<f64>,
    pub(super) mscale: Option<f64>,
    pub(super) mscale_all_dim: Option<f64>,
}

fn one() -> usize {
    1
}

fn silu() -> String {
    "silu".into()
}

fn norm_eps() -> f64 {
    1e-6
}

fn sinkhorn_iters() -> usize {
    20
}

fn hc_eps() -> f64 {
    1e-6
}
