//! DeepSeek-V4.1: FP8 rows with a UE8M0 scale for each 32 values.

use engram_format::{EngramParameters, LayerId, LayerScheme, Scheme, SchemeError, TokenMap};
use safetensors::Dtype;
use serde_json::{Value, json};

use super::{
    common::{class_count, mapped_pad, shrunk},
    fields::Fields,
    table::{OtherTensor, Scales, TableTensors, TensorRows},
};
use crate::error::CheckpointError;

const SCALE_GROUP: u32 = 32;

/// The fields of a DeepSeek-V4.1 configuration that concern Engram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeepSeekConfig {
    /// 0-based ids of the layers with a table.
    pub layers: Vec<u32>,
    /// Rows of each table, where the configuration says.
    pub row_counts: Option<Vec<u64>>,
    /// Largest n-gram order.
    pub max_order: u32,
    /// Where the search for primes starts.
    pub bucket_start: u64,
    /// Heads of each order.
    pub heads: u32,
    /// Values a row.
    pub width: u32,
    /// Raw id of the pad token.
    pub pad: u32,
    /// Size of the compressed vocabulary.
    pub compressed_vocab_size: u32,
    /// Width of the residual stream.
    pub hidden_size: u64,
    /// Copies of the residual stream.
    pub hc_mult: u64,
}

impl DeepSeekConfig {
    pub(super) fn published() -> Self {
        let scheme = EngramParameters::deepseek_v41_flash();
        Self {
            max_order: scheme.max_order(),
            layers: scheme.layers,
            row_counts: None,
            bucket_start: scheme.bucket_starts[0],
            heads: scheme.heads,
            width: 256,
            pad: 2,
            compressed_vocab_size: scheme.compressed_vocab_size,
            hidden_size: 5_120,
            hc_mult: 4,
        }
    }

    pub(super) fn scale_down(&mut self, factor: u64) {
        self.bucket_start = (self.bucket_start / factor).max(1);
        self.hidden_size = shrunk(self.hidden_size, factor, 32);
    }

    /// Names are those of `config.json`, then those of the model's own `inference/config.json`.
    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Self, CheckpointError> {
        let config = Self {
            layers: fields.required(&["engram_layer_ids"])?,
            row_counts: fields.optional(&["engram_num_embeddings"])?,
            max_order: fields.required(&["engram_max_ngram_size"])?,
            bucket_start: fields.required(&["engram_vocab_size"])?,
            heads: fields.required(&["engram_n_heads"])?,
            width: fields.required(&["engram_head_dim"])?,
            pad: fields.required(&["engram_pad_token_id", "engram_pad_id"])?,
            compressed_vocab_size: fields.required(&["engram_compressed_vocab_size"])?,
            hidden_size: fields.required(&["hidden_size", "dim"])?,
            hc_mult: fields.required(&["hc_mult"])?,
        };
        fields.check_all_known(&[])?;
        Ok(config)
    }

    pub(super) fn to_json(&self, scheme: &Scheme) -> Value {
        let row_counts: Vec<u64> = scheme.layers.iter().map(|layer| layer.row_count).collect();
        json!({
            "model_type": "deepseek_v41",
            "text_config": {
                "model_type": "deepseek_v41_text",
                "engram_layer_ids": self.layers,
                "engram_num_embeddings": row_counts,
                "engram_max_ngram_size": self.max_order,
                "engram_vocab_size": self.bucket_start,
                "engram_n_heads": self.heads,
                "engram_head_dim": self.width,
                "engram_pad_token_id": self.pad,
                "engram_compressed_vocab_size": self.compressed_vocab_size,
                "hidden_size": self.hidden_size,
                "hc_mult": self.hc_mult,
                "rms_norm_eps": 1e-20,
                "num_hidden_layers": 40,
                "vocab_size": 129_280,
                "image_token_id": 129_264,
            },
            "quantization_config": {
                "quant_method": "fp8",
                "weight_block_size": [32, 32],
                "scale_fmt": "ue8m0",
            },
        })
    }

    pub(super) fn scheme(&self, name: &str, map: &TokenMap) -> Result<Scheme, SchemeError> {
        let classes = class_count(map);
        if classes != self.compressed_vocab_size {
            return Err(SchemeError::Field {
                field: "compressed vocabulary of the tokenizer",
                found: classes.into(),
                expected: format!(
                    "{}, by engram_compressed_vocab_size",
                    self.compressed_vocab_size
                ),
            });
        }
        let scheme = EngramParameters {
            name: name.into(),
            layers: self.layers.clone(),
            heads: self.heads,
            bucket_starts: vec![self.bucket_start; (self.max_order.clamp(1, 64) - 1) as usize],
            compressed_vocab_size: classes,
            pad: mapped_pad(map, self.pad)?,
            seed: 0,
        };
        let scheme = scheme.scheme()?;
        self.check_row_counts(&scheme)?;
        Ok(scheme)
    }

    fn check_row_counts(&self, scheme: &Scheme) -> Result<(), SchemeError> {
        let Some(row_counts) = &self.row_counts else {
            return Ok(());
        };
        for (index, layer) in scheme.layers.iter().enumerate() {
            let found = row_counts.get(index).copied().unwrap_or(0);
            // A table may be padded; how many rows it has, its tensor tells.
            if found < layer.row_count {
                return Err(SchemeError::Field {
                    field: "engram_num_embeddings of a layer",
                    found,
                    expected: format!(
                        "{}, the sum of the columns of layer {}",
                        layer.row_count, layer.id
                    ),
                });
            }
        }
        Ok(())
    }

    pub(super) fn table_tensors(&self, layer: &LayerScheme) -> TableTensors {
        let tensor = |part| format!("layers.{}.engram.embed.{part}", layer.id);
        let place = self.layers.iter().position(|&id| id == layer.id.0);
        let claimed = place.and_then(|place| self.row_counts.as_ref()?.get(place).copied());
        TableTensors {
            width: self.width,
            dtype: Dtype::F8_E4M3,
            values: vec![TensorRows {
                name: tensor("weight"),
                rows: layer.row_count,
            }],
            padded_rows: claimed.filter(|&rows| rows > layer.row_count),
            whole: None,
            scales: Scales::Rows {
                name: tensor("scale"),
                group: SCALE_GROUP,
            },
        }
    }

    pub(super) fn other_tensors(&self, layer: LayerId) -> Vec<OtherTensor> {
        let tensor = |part| format!("layers.{layer}.engram.{part}");
        let rows = self.hidden_size * (self.hc_mult + 1);
        let columns = u64::from((self.max_order - 1) * self.heads * self.width);
        let group = u64::from(SCALE_GROUP);
        let norm = vec![self.hc_mult, self.hidden_size];
        vec![
            (tensor("wkv.weight"), Dtype::F8_E4M3, vec![rows, columns]),
            (
                tensor("wkv.scale"),
                Dtype::F8_E8M0,
                vec![rows / group, columns / group],
            ),
            (tensor("q_weight"), Dtype::BF16, norm.clone()),
            (tensor("k_weight"), Dtype::BF16, norm),
        ]
    }
}
