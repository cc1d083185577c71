//! Gemma 3n and Gemma 4: per-layer embeddings, one bfloat16 row a token with the values of all layers.

use engram_format::{LayerScheme, PerLayerParameters, Scheme, SchemeError, SchemeName};
use safetensors::Dtype;
use serde_json::{Value, json};

use super::{
    fields::Fields,
    table::{Scales, TableTensors, TensorRows},
};
use crate::error::CheckpointError;

/// The token whose row stands for image and sound tokens.
const PAD: u32 = 0;

/// The fields of a Gemma configuration that concern per-layer embeddings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GemmaConfig {
    /// Whether it is Gemma 4, and not Gemma 3n.
    pub is_gemma4: bool,
    /// Tokens that have a row.
    pub vocab_size: u32,
    /// Layers of the model, each of which has its part of a row.
    pub layer_count: u32,
    /// Values of each part.
    pub layer_width: u32,
}

impl GemmaConfig {
    /// The larger size of each: E4B.
    pub(super) fn published(is_gemma4: bool) -> Self {
        Self {
            is_gemma4,
            vocab_size: PerLayerParameters::gemma_3n().vocab_size,
            layer_count: if is_gemma4 { 42 } else { 35 },
            layer_width: 256,
        }
    }

    /// There are as many rows as tokens, so the vocabulary shrinks.
    pub(super) fn scale_down(&mut self, factor: u64) {
        let rows = (u64::from(self.vocab_size) / factor).max(1);
        self.vocab_size = u32::try_from(rows).expect("it is below the vocabulary");
    }

    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Self, CheckpointError> {
        let config = Self {
            is_gemma4: fields.model_types().any(|name| name.starts_with("gemma4")),
            vocab_size: fields.required(&["vocab_size_per_layer_input"])?,
            layer_count: fields.required(&["num_hidden_layers"])?,
            layer_width: fields.required(&["hidden_size_per_layer_input"])?,
        };
        fields.check_all_known(&[])?;
        if config.layer_width == 0 {
            let expected =
                "1 or more; the larger models of the family have no per-layer embeddings";
            return Err(fields.fault("hidden_size_per_layer_input", 0, expected));
        }
        let pad = fields.optional::<u32>(&["pad_token_id"])?;
        if let Some(pad) = pad.filter(|&pad| pad != PAD) {
            let expected = "0, whose row stands for image tokens";
            return Err(fields.fault("pad_token_id", pad, expected));
        }
        Ok(config)
    }

    pub(super) fn to_json(&self) -> Value {
        let model_type = if self.is_gemma4 { "gemma4" } else { "gemma3n" };
        json!({
            "model_type": model_type,
            "text_config": {
                "model_type": format!("{model_type}_text"),
                "vocab_size_per_layer_input": self.vocab_size,
                "hidden_size_per_layer_input": self.layer_width,
                "num_hidden_layers": self.layer_count,
                "pad_token_id": PAD,
            },
        })
    }

    pub(super) fn name(&self) -> SchemeName {
        if self.is_gemma4 {
            SchemeName::Gemma4
        } else {
            SchemeName::Gemma3n
        }
    }

    pub(super) fn scheme(&self, name: &str) -> Result<Scheme, SchemeError> {
        PerLayerParameters {
            name: name.into(),
            vocab_size: self.vocab_size,
            pad: PAD,
        }
        .scheme()
    }

    pub(super) fn table_tensors(&self, layer: &LayerScheme) -> TableTensors {
        TableTensors {
            width: self.layer_count.saturating_mul(self.layer_width),
            dtype: Dtype::BF16,
            values: vec![TensorRows {
                name: "embed_tokens_per_layer.weight".into(),
                rows: layer.row_count,
            }],
            padded_rows: None,
            whole: None,
            scales: Scales::None,
        }
    }
}
