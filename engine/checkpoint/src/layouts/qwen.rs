//! Qwen3.8-Flash-Next: FP8 rows under one scale, or bfloat16 rows, in many tensors.

use engram_format::{LayerId, LayerScheme, MAX_SEGMENTS, QwenParameters, Scheme, SchemeError};
use safetensors::Dtype;
use serde_json::{Value, json};

use super::{
    common::{MAX_KERNEL, shrunk},
    fields::{Fields, FirstTokenId},
    table::{OtherTensor, Scales, TableTensors, TensorRows},
};
use crate::error::CheckpointError;

/// The fields of a `qwen4_exp` configuration that concern the n-gram embedding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QwenConfig {
    /// ONE-based ids of the layers with a table, as the configuration has them.
    pub one_based_layers: Vec<u32>,
    /// Values that all columns of a row have together.
    pub embed_width: u32,
    /// Largest n-gram order.
    pub max_order: u32,
    /// Heads of each order.
    pub heads: u32,
    /// Where the search for primes starts.
    pub bucket_start: u64,
    /// Row counts are rounded up to a multiple of this.
    pub row_multiple: u64,
    /// Tensors that each table is split into.
    pub parts: u64,
    /// Base seed of the multipliers.
    pub seed: u64,
    /// Vocabulary size.
    pub vocab_size: u32,
    /// End-of-sequence token.
    pub eos: u32,
    /// Width of the residual stream.
    pub hidden_size: u64,
    /// Copies of the residual stream.
    pub hc_count: u64,
    /// Taps of the short convolution.
    pub kernel_size: u64,
}

impl QwenConfig {
    pub(super) fn published() -> Self {
        let scheme = QwenParameters::qwen38_flash_next();
        Self {
            one_based_layers: scheme.layers.iter().map(|layer| layer + 1).collect(),
            embed_width: 2_560,
            max_order: scheme.max_order,
            heads: scheme.heads,
            bucket_start: scheme.bucket_start,
            row_multiple: scheme.row_multiple,
            parts: 128,
            seed: scheme.seed,
            vocab_size: scheme.vocab_size,
            eos: scheme.eos,
            hidden_size: 2_560,
            hc_count: 4,
            kernel_size: 4,
        }
    }

    pub(super) fn scale_down(&mut self, factor: u64) {
        self.bucket_start = (self.bucket_start / factor).max(1);
        self.hidden_size = shrunk(self.hidden_size, factor, 32);
    }

    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Self, CheckpointError> {
        // The reference implementation takes the first of a list.
        let FirstTokenId(eos) = fields.required(&["eos_token_id"])?;
        // The defaults of the library; the published configuration leaves out the seed, for one.
        let default = Self::published();
        let hidden_size = fields.required(&["hidden_size"])?;
        let default_width = u32::try_from(hidden_size).unwrap_or(u32::MAX);
        let config = Self {
            one_based_layers: fields.required(&["ple_layer_ids"])?,
            embed_width: fields.or_default("ple_embed_dim", default_width)?,
            max_order: fields.or_default("ngram_size", default.max_order)?,
            heads: fields.or_default("heads_per_ngram", default.heads)?,
            bucket_start: fields.or_default("ngram_vocab_size_base", default.bucket_start)?,
            row_multiple: fields
                .or_default("make_ngram_vocab_size_divisible_by", default.row_multiple)?,
            parts: fields.or_default("split_ngram_parts", default.parts)?,
            seed: fields.or_default("seed", default.seed)?,
            vocab_size: fields.required(&["vocab_size"])?,
            eos,
            hidden_size,
            hc_count: fields.required(&["hc_count"])?,
            kernel_size: fields.or_default("ple_conv_kernel_size", default.kernel_size)?,
        };
        fields.check_all_known(&[])?;
        if !(1..=MAX_KERNEL).contains(&config.kernel_size) {
            let expected = format!("1 to {MAX_KERNEL}");
            return Err(fields.fault("ple_conv_kernel_size", config.kernel_size, &expected));
        }
        if config.one_based_layers.contains(&0) {
            return Err(fields.fault("ple_layer_ids", 0, "ids that count from one"));
        }
        let columns = config
            .max_order
            .saturating_sub(1)
            .saturating_mul(config.heads);
        if columns == 0 || !config.embed_width.is_multiple_of(columns) {
            let expected = format!("a multiple of the {columns} columns");
            return Err(fields.fault("ple_embed_dim", config.embed_width, &expected));
        }
        let parts_divide = (1..=MAX_SEGMENTS as u64).contains(&config.parts)
            && config.row_multiple.is_multiple_of(config.parts);
        if !parts_divide {
            let expected = format!(
                "1 to {MAX_SEGMENTS} and a divisor of {}, to which rows are rounded",
                config.row_multiple
            );
            return Err(fields.fault("split_ngram_parts", config.parts, &expected));
        }
        Ok(config)
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "model_type": "qwen4_exp",
            "text_config": {
                "model_type": "qwen4_exp_text",
                "ple_layer_ids": self.one_based_layers,
                "ple_embed_dim": self.embed_width,
                "ple_conv_kernel_size": self.kernel_size,
                "ngram_size": self.max_order,
                "heads_per_ngram": self.heads,
                "ngram_vocab_size_base": self.bucket_start,
                "make_ngram_vocab_size_divisible_by": self.row_multiple,
                "split_ngram_parts": self.parts,
                "vocab_size": self.vocab_size,
                "eos_token_id": self.eos,
                "hidden_size": self.hidden_size,
                "hc_count": self.hc_count,
                "rms_norm_eps": 1e-6,
            },
        })
    }

    pub(super) fn scheme(&self, name: &str) -> Result<Scheme, SchemeError> {
        QwenParameters {
            name: name.into(),
            layers: self
                .one_based_layers
                .iter()
                .map(|layer| layer.saturating_sub(1))
                .collect(),
            max_order: self.max_order,
            heads: self.heads,
            bucket_start: self.bucket_start,
            row_multiple: self.row_multiple,
            vocab_size: self.vocab_size,
            eos: self.eos,
            seed: self.seed,
        }
        .scheme()
    }

    pub(super) fn table_tensors(&self, layer: &LayerScheme) -> TableTensors {
        let embedding = format!("layers.{}.ple.ple_embedding.ngram_embedding", layer.id);
        let parts = (0..self.parts).map(|part| TensorRows {
            name: format!("{embedding}.shard_{part}.weight"),
            rows: layer.row_count / self.parts,
        });
        TableTensors {
            width: self.embed_width / ((self.max_order - 1) * self.heads),
            dtype: Dtype::F8_E4M3,
            values: parts.collect(),
            padded_rows: None,
            whole: Some(format!("{embedding}.weight")),
            scales: Scales::Single {
                name: format!("{embedding}.weight_scale"),
            },
        }
    }

    pub(super) fn other_tensors(&self, layer: LayerId) -> Vec<OtherTensor> {
        let tensor = |part| format!("model.language_model.layers.{layer}.ple.{part}");
        let wide = self.hidden_size * self.hc_count;
        let embed = u64::from(self.embed_width);
        vec![
            (tensor("key_proj.weight"), Dtype::BF16, vec![wide, embed]),
            (
                tensor("value_proj.weight"),
                Dtype::BF16,
                vec![self.hidden_size, embed],
            ),
            (tensor("norm_key.weight"), Dtype::BF16, vec![wide]),
            (tensor("norm_query.weight"), Dtype::BF16, vec![wide]),
            (tensor("norm_conv.weight"), Dtype::BF16, vec![wide]),
            (
                tensor("conv1d.weight"),
                Dtype::BF16,
                vec![wide, 1, self.kernel_size],
            ),
        ]
    }
}
