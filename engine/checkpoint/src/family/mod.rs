//! The families of models: what their configuration means and how their tensors are named.

mod deepseek;
mod demo;
mod fields;
mod longcat;
mod qwen;

use std::path::Path;

use engram_format::{LayerId, PresetName, Scheme, SchemeError, TokenMap};
use safetensors::Dtype;
use serde_json::Value;

use crate::{CheckpointError, tensors::read_json};
use fields::Fields;

pub use deepseek::DeepSeekConfig;
pub use demo::DemoConfig;
pub use longcat::LongCatConfig;
pub use qwen::QwenConfig;

/// Name of the configuration in a checkpoint.
pub const CONFIG_FILE: &str = "config.json";

/// The most taps that a short convolution can have.
const MAX_KERNEL: u64 = 64;

/// The configuration of a model with N-gram memory tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Family {
    /// The authors' demo.
    Demo(DemoConfig),
    /// DeepSeek-V4.1.
    DeepSeek(DeepSeekConfig),
    /// Qwen3.8-Flash-Next (`qwen4_exp`).
    Qwen(QwenConfig),
    /// LongCat-Flash-Lite.
    LongCat(LongCatConfig),
}

/// The tensors that hold one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableTensors {
    /// Values a row.
    pub width: u32,
    /// Element type of the values in the published checkpoint.
    pub dtype: Dtype,
    /// The values, in row order.
    pub values: Vec<TensorRows>,
    /// The scales that FP8 values go with.
    pub scales: Scales,
}

/// A tensor that holds consecutive rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorRows {
    /// Its name, or the end of it.
    pub name: String,
    /// Its number of rows.
    pub rows: u64,
}

/// Where the scales of FP8 values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scales {
    /// The values have none.
    None,
    /// A tensor with a row of UE8M0 scales for each row of values.
    Rows {
        /// Name of the tensor.
        name: String,
        /// Values to a scale in the published checkpoint.
        group: u32,
    },
    /// A tensor with the one scale of the table.
    Single {
        /// Name of the tensor.
        name: String,
    },
}

/// A tensor beside the table: name, element type, shape.
pub type OtherTensor = (String, Dtype, Vec<u64>);

impl Family {
    /// Reads the `config.json` in `folder`.
    ///
    /// # Errors
    /// No such file, a model of none of the families, or a field that is missing or makes no sense.
    pub fn read(folder: &Path) -> Result<Self, CheckpointError> {
        let path = folder.join(CONFIG_FILE);
        Self::from_json(&path, &read_json(&path)?)
    }

    /// As [`Self::read`], of the configuration `json`, which is or will be at `path`.
    ///
    /// # Errors
    /// As there.
    pub fn from_json(path: &Path, json: &Value) -> Result<Self, CheckpointError> {
        let fields = Fields::new(path, json);
        if fields.has("ple_layer_ids") {
            QwenConfig::from_fields(&fields).map(Self::Qwen)
        } else if fields.has("emb_neighbor_num") || fields.has("oe_neighbor_num") {
            LongCatConfig::from_fields(&fields).map(Self::LongCat)
        } else if fields.has("engram_layer_ids") {
            DeepSeekConfig::from_fields(&fields).map(Self::DeepSeek)
        } else if fields.has("n_embed_per_ngram") {
            DemoConfig::from_fields(&fields).map(Self::Demo)
        } else {
            Err(fields.fault(
                "model_type",
                "without n-gram fields",
                "a model with ple_layer_ids, emb_neighbor_num, engram_layer_ids or n_embed_per_ngram",
            ))
        }
    }

    /// The published configuration of a known model.
    pub fn preset(name: PresetName) -> Self {
        match name {
            PresetName::EngramDemoV1 => Self::Demo(DemoConfig::published()),
            PresetName::DeepSeekV41Flash => Self::DeepSeek(DeepSeekConfig::published()),
            PresetName::Qwen38FlashNext => Self::Qwen(QwenConfig::published()),
            PresetName::LongCatFlashLite => Self::LongCat(LongCatConfig::published()),
        }
    }

    /// The same model with tables about `factor` times smaller, and the rest shrunk to match. Vocabulary,
    /// orders, heads and row width stay.
    #[must_use]
    pub fn scaled_down(&self, factor: u64) -> Self {
        let mut scaled = self.clone();
        match &mut scaled {
            Self::Demo(config) => config.scale_down(factor),
            Self::DeepSeek(config) => config.scale_down(factor),
            Self::Qwen(config) => config.scale_down(factor),
            Self::LongCat(config) => config.scale_down(factor),
        }
        scaled
    }

    /// The `config.json` from which [`Self::read`] gives this configuration.
    pub fn to_json(&self, scheme: &Scheme) -> Value {
        match self {
            Self::Demo(config) => config.to_json(),
            Self::DeepSeek(config) => config.to_json(scheme),
            Self::Qwen(config) => config.to_json(),
            Self::LongCat(config) => config.to_json(),
        }
    }

    /// Name of the scheme, after the first model of the family.
    pub fn name(&self) -> &'static str {
        let preset = match self {
            Self::Demo(_) => PresetName::EngramDemoV1,
            Self::DeepSeek(_) => PresetName::DeepSeekV41Flash,
            Self::Qwen(_) => PresetName::Qwen38FlashNext,
            Self::LongCat(_) => PresetName::LongCatFlashLite,
        };
        preset.as_str()
    }

    fn need<'a>(&self, token_map: Option<&'a TokenMap>) -> Result<&'a TokenMap, SchemeError> {
        token_map.ok_or_else(|| SchemeError::TokenMapPresence {
            scheme: self.name().into(),
            compressed: true,
        })
    }

    /// Whether the model hashes compressed ids.
    pub fn compresses(&self) -> bool {
        matches!(self, Self::Demo(_) | Self::DeepSeek(_))
    }

    /// Checks that a `tokenizer` is named only where it is used.
    ///
    /// # Errors
    /// A tokenizer for a model that hashes raw ids.
    pub fn check_tokenizer(&self, tokenizer: Option<&Path>) -> Result<(), SchemeError> {
        if tokenizer.is_some() && !self.compresses() {
            return Err(SchemeError::TokenMapPresence {
                scheme: self.name().into(),
                compressed: false,
            });
        }
        Ok(())
    }

    /// Derives the addressing scheme; `token_map` is needed where the model compresses its vocabulary.
    ///
    /// # Errors
    /// Constants that make no valid scheme, or a token map of another size than the configuration says.
    pub fn scheme(&self, token_map: Option<&TokenMap>) -> Result<Scheme, SchemeError> {
        match self {
            Self::Demo(config) => config.scheme(self.name(), self.need(token_map)?),
            Self::DeepSeek(config) => config.scheme(self.name(), self.need(token_map)?),
            Self::Qwen(config) => config.scheme(self.name()),
            Self::LongCat(config) => config.scheme(self.name()),
        }
    }

    /// The tensors that hold the table of the layer at `layer_index` of `scheme`.
    pub fn table_tensors(&self, scheme: &Scheme, layer_index: usize) -> TableTensors {
        let layer = &scheme.layers[layer_index];
        match self {
            Self::Demo(config) => config.table_tensors(layer),
            Self::DeepSeek(config) => config.table_tensors(layer),
            Self::Qwen(config) => config.table_tensors(layer),
            Self::LongCat(config) => config.table_tensors(layer),
        }
    }

    /// The other tensors of the Engram block of `layer`, as the model has them.
    pub fn other_tensors(&self, layer: LayerId) -> Vec<OtherTensor> {
        match self {
            Self::Demo(config) => config.other_tensors(layer),
            Self::DeepSeek(config) => config.other_tensors(layer),
            Self::Qwen(config) => config.other_tensors(layer),
            Self::LongCat(config) => config.other_tensors(),
        }
    }
}

/// Number of compressed ids in `map`.
fn class_count(map: &TokenMap) -> u32 {
    map.ids().iter().max().map_or(0, |&id| id.saturating_add(1))
}

/// Compressed id of the raw pad token `pad`.
fn mapped_pad(map: &TokenMap, pad: u32) -> Result<u32, SchemeError> {
    map.ids()
        .get(pad as usize)
        .copied()
        .ok_or_else(|| SchemeError::Field {
            field: "pad token",
            found: pad.into(),
            expected: format!("below the {} tokens of the map", map.ids().len()),
        })
}

/// `size / factor`, but at least `least`, as a multiple of it.
fn shrunk(size: u64, factor: u64, least: u64) -> u64 {
    (size / factor).next_multiple_of(least).max(least)
}
