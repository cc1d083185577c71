//! The authors' demo: one float embedding for each layer.

use engram_format::{EngramParameters, LayerId, LayerScheme, Scheme, SchemeError, TokenMap};
use safetensors::Dtype;
use serde_json::{Value, json};

use super::{
    common::{MAX_KERNEL, class_count, mapped_pad, shrunk},
    fields::Fields,
    table::{OtherTensor, Scales, TableTensors, TensorRows},
};
use crate::error::CheckpointError;

/// The fields of the demo's `EngramConfig` and `BackBoneConfig` that concern Engram, under their own
/// names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoConfig {
    /// 0-based ids of the layers with a table.
    pub layers: Vec<u32>,
    /// Where the search for primes starts, for orders 2, 3, ...
    pub bucket_starts: Vec<u64>,
    /// Heads of each order.
    pub heads: u32,
    /// Values that all heads of an order have together.
    pub order_width: u32,
    /// Raw id of the pad token.
    pub pad: u32,
    /// Base seed of the multipliers.
    pub seed: u64,
    /// Taps of the short convolution.
    pub kernel_size: u64,
    /// Width of the residual stream.
    pub hidden_size: u64,
    /// Copies of the residual stream.
    pub hc_mult: u64,
}

impl DemoConfig {
    pub(super) fn published() -> Self {
        let scheme = EngramParameters::engram_demo_v1();
        Self {
            layers: scheme.layers,
            bucket_starts: scheme.bucket_starts,
            heads: scheme.heads,
            order_width: 512,
            pad: 2,
            seed: scheme.seed,
            kernel_size: 4,
            hidden_size: 1_024,
            hc_mult: 4,
        }
    }

    pub(super) fn scale_down(&mut self, factor: u64) {
        for start in &mut self.bucket_starts {
            *start = (*start / factor).max(1);
        }
        self.hidden_size = shrunk(self.hidden_size, factor, 32);
    }

    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Self, CheckpointError> {
        let config = Self {
            layers: fields.required(&["layer_ids"])?,
            bucket_starts: fields.required(&["engram_vocab_size"])?,
            heads: fields.required(&["n_head_per_ngram"])?,
            order_width: fields.required(&["n_embed_per_ngram"])?,
            pad: fields.required(&["pad_id"])?,
            seed: fields.required(&["seed"])?,
            kernel_size: fields.required(&["kernel_size"])?,
            hidden_size: fields.required(&["hidden_size"])?,
            hc_mult: fields.required(&["hc_mult"])?,
        };
        let max_order: u32 = fields.required(&["max_ngram_size"])?;
        fields.check_all_known(&[])?;
        if config.bucket_starts.len() as u64 + 1 != u64::from(max_order) {
            return Err(fields.fault(
                "engram_vocab_size",
                format!("{} numbers", config.bucket_starts.len()),
                &format!("one for each order from 2 to {max_order}"),
            ));
        }
        if !(1..=MAX_KERNEL).contains(&config.kernel_size) {
            let expected = format!("1 to {MAX_KERNEL}");
            return Err(fields.fault("kernel_size", config.kernel_size, &expected));
        }
        if config.heads == 0 || !config.order_width.is_multiple_of(config.heads) {
            return Err(fields.fault(
                "n_embed_per_ngram",
                config.order_width,
                &format!("a multiple of the {} heads", config.heads),
            ));
        }
        Ok(config)
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "model_type": "engram_demo_v1",
            "tokenizer_name_or_path": "deepseek-ai/DeepSeek-V3",
            "engram_vocab_size": self.bucket_starts,
            "max_ngram_size": self.bucket_starts.len() + 1,
            "n_embed_per_ngram": self.order_width,
            "n_head_per_ngram": self.heads,
            "layer_ids": self.layers,
            "pad_id": self.pad,
            "seed": self.seed,
            "kernel_size": self.kernel_size,
            "hidden_size": self.hidden_size,
            "hc_mult": self.hc_mult,
            "vocab_size": 129_280,
            "num_layers": 30,
        })
    }

    pub(super) fn scheme(&self, name: &str, map: &TokenMap) -> Result<Scheme, SchemeError> {
        EngramParameters {
            name: name.into(),
            layers: self.layers.clone(),
            heads: self.heads,
            bucket_starts: self.bucket_starts.clone(),
            compressed_vocab_size: class_count(map),
            pad: mapped_pad(map, self.pad)?,
            seed: self.seed,
        }
        .scheme()
    }

    pub(super) fn table_tensors(&self, layer: &LayerScheme) -> TableTensors {
        TableTensors {
            width: self.order_width / self.heads,
            dtype: Dtype::F32,
            values: vec![TensorRows {
                name: format!(
                    "layers.{}.engram.multi_head_embedding.embedding.weight",
                    layer.id
                ),
                rows: layer.row_count,
            }],
            padded_rows: None,
            whole: None,
            scales: Scales::None,
        }
    }

    pub(super) fn other_tensors(&self, layer: LayerId) -> Vec<OtherTensor> {
        let tensor = |part: &str| format!("layers.{layer}.engram.{part}");
        let (hidden, copies) = (self.hidden_size, self.hc_mult);
        let columns = u64::from(self.order_width) * self.bucket_starts.len() as u64;
        let mut tensors = vec![
            (
                tensor("value_proj.weight"),
                Dtype::F32,
                vec![hidden, columns],
            ),
            (tensor("value_proj.bias"), Dtype::F32, vec![hidden]),
            (
                tensor("short_conv.conv.weight"),
                Dtype::F32,
                vec![copies * hidden, 1, self.kernel_size],
            ),
        ];
        for copy in 0..copies {
            let of_copy = |module: &str, part: &str| tensor(&format!("{module}.{copy}.{part}"));
            tensors.extend([
                (
                    of_copy("key_projs", "weight"),
                    Dtype::F32,
                    vec![hidden, columns],
                ),
                (of_copy("key_projs", "bias"), Dtype::F32, vec![hidden]),
                (of_copy("norm1", "weight"), Dtype::F32, vec![hidden]),
                (of_copy("norm2", "weight"), Dtype::F32, vec![hidden]),
                (
                    of_copy("short_conv.norms", "weight"),
                    Dtype::F32,
                    vec![hidden],
                ),
            ]);
        }
        tensors
    }
}
