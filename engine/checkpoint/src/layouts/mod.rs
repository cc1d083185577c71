//! The families of models, one file each: what their configuration means and how their tensors are named.

mod common;
mod deepseek;
mod demo;
mod fields;
mod longcat;
mod qwen;
mod table;

use std::path::Path;

use engram_format::{LayerId, Scheme, SchemeError, SchemeName, TokenMap};
use serde_json::Value;

use crate::{error::CheckpointError, files::read_json_up_to};
use fields::Fields;

pub use deepseek::DeepSeekConfig;
pub use demo::DemoConfig;
pub use longcat::LongCatConfig;
pub use qwen::QwenConfig;
pub use table::{OtherTensor, Scales, TableTensors, TensorRows};

/// Name of the configuration in a checkpoint.
pub const CONFIG_FILE: &str = "config.json";

/// Size in bytes of the largest configuration that is read. Published ones have kilobytes, those with long lists of
/// modules some hundred.
const MAX_CONFIG_BYTES: u64 = 4 << 20;

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

impl Family {
    /// Reads the `config.json` in `folder`.
    ///
    /// # Errors
    /// No such file, a model of none of the families, or a field that is missing or makes no sense.
    pub fn read(folder: &Path) -> Result<Self, CheckpointError> {
        let path = folder.join(CONFIG_FILE);
        Self::from_json(&path, &read_json_up_to(&path, MAX_CONFIG_BYTES)?)
    }

    /// As [`Self::read`], of the configuration `json`, which is or will be at `path`.
    ///
    /// # Errors
    /// As there.
    pub fn from_json(path: &Path, json: &Value) -> Result<Self, CheckpointError> {
        let fields = Fields::new(path, json);
        if let Some(fields) = fields.of_family(&["ple_layer_ids"]) {
            QwenConfig::from_fields(&fields).map(Self::Qwen)
        } else if let Some(fields) = fields.of_family(&["emb_neighbor_num", "oe_neighbor_num"]) {
            LongCatConfig::from_fields(&fields).map(Self::LongCat)
        } else if let Some(fields) = fields.of_family(&["engram_layer_ids"]) {
            DeepSeekConfig::from_fields(&fields).map(Self::DeepSeek)
        } else if let Some(fields) = fields.of_family(&["n_embed_per_ngram"]) {
            DemoConfig::from_fields(&fields).map(Self::Demo)
        } else {
            let others = fields.of_tables();
            let found = if others.is_empty() {
                "without n-gram fields".into()
            } else {
                format!(
                    "without n-gram fields of a known family, but with `{}`",
                    others.join("`, `")
                )
            };
            let expected = "a model with ple_layer_ids, emb_neighbor_num, engram_layer_ids or n_embed_per_ngram";
            Err(fields.fault("model_type", found, expected))
        }
    }

    /// The published configuration of a known model.
    pub fn published(name: SchemeName) -> Self {
        match name {
            SchemeName::EngramDemoV1 => Self::Demo(DemoConfig::published()),
            SchemeName::DeepSeekV41Flash => Self::DeepSeek(DeepSeekConfig::published()),
            SchemeName::Qwen38FlashNext => Self::Qwen(QwenConfig::published()),
            SchemeName::LongCatFlashLite => Self::LongCat(LongCatConfig::published()),
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
        let name = match self {
            Self::Demo(_) => SchemeName::EngramDemoV1,
            Self::DeepSeek(_) => SchemeName::DeepSeekV41Flash,
            Self::Qwen(_) => SchemeName::Qwen38FlashNext,
            Self::LongCat(_) => SchemeName::LongCatFlashLite,
        };
        name.as_str()
    }

    fn required<'a>(&self, token_map: Option<&'a TokenMap>) -> Result<&'a TokenMap, SchemeError> {
        token_map.ok_or_else(|| SchemeError::MissingTokenMap {
            scheme: self.name().into(),
        })
    }

    /// Whether the model hashes compressed ids.
    pub fn compresses(&self) -> bool {
        matches!(self, Self::Demo(_) | Self::DeepSeek(_))
    }

    /// Checks that a `tokenizer` is given only for a model that uses one.
    ///
    /// # Errors
    /// A tokenizer for a model that hashes raw ids.
    pub fn check_tokenizer(&self, tokenizer: Option<&Path>) -> Result<(), SchemeError> {
        if tokenizer.is_some() && !self.compresses() {
            return Err(SchemeError::UnusedTokenMap {
                scheme: self.name().into(),
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
            Self::Demo(config) => config.scheme(self.name(), self.required(token_map)?),
            Self::DeepSeek(config) => config.scheme(self.name(), self.required(token_map)?),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::builtin_token_map;

    #[test]
    fn a_published_configuration_gives_the_published_scheme() {
        for name in SchemeName::ALL {
            let family = Family::published(name);
            let scheme = family.scheme(builtin_token_map(name).as_ref()).unwrap();
            assert_eq!(scheme, name.scheme());
            let read = Family::from_json(Path::new(CONFIG_FILE), &family.to_json(&scheme)).unwrap();
            assert_eq!(read.scheme(builtin_token_map(name).as_ref()), Ok(scheme));
        }
    }
}
