//! The families of models, one file each: what their configuration means and how their tensors are named.

mod common;
mod deepseek;
mod demo;
mod fields;
mod gemma;
mod longcat;
mod over_encoding;
mod qwen;
mod table;

use std::path::Path;

use engram_format::{LayerId, Scheme, SchemeError, SchemeName, TokenMap};
use serde_json::Value;

use crate::{error::CheckpointError, files::read_json_up_to};
use fields::Fields;

pub use deepseek::DeepSeekConfig;
pub use demo::DemoConfig;
pub use gemma::GemmaConfig;
pub use longcat::LongCatConfig;
pub use over_encoding::{OverEncodingConfig, OverEncodingRows};
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
    /// LongCat-Flash-Lite, LongCat-2.0 and their like.
    LongCat(LongCatConfig),
    /// Gemma 3n and Gemma 4.
    Gemma(GemmaConfig),
    /// A research model that is described in full.
    OverEncoding(OverEncodingConfig),
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

    /// The family that `scheme` says: the published configuration of the model of that name, or the one in the JSON
    /// file at that path.
    ///
    /// # Errors
    /// As [`Self::read`], if it is no name.
    pub fn of_scheme(scheme: &str) -> Result<Self, CheckpointError> {
        let path = Path::new(scheme);
        match scheme.parse() {
            Ok(name) => return Ok(Self::published(name)),
            // What is neither a file nor said to be one is a name that is not known.
            Err(cause) if !path.exists() && path.extension().is_none_or(|last| last != "json") => {
                return Err(CheckpointError::Scheme {
                    path: path.into(),
                    cause,
                });
            }
            Err(_) => {}
        }
        Self::from_json(path, &read_json_up_to(path, MAX_CONFIG_BYTES)?)
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
        } else if let Some(fields) = fields.of_family(&[over_encoding::FIELD]) {
            OverEncodingConfig::from_fields(&fields).map(Self::OverEncoding)
        } else if let Some(fields) = fields.of_family(&["vocab_size_per_layer_input"]) {
            GemmaConfig::from_fields(&fields).map(Self::Gemma)
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
            let expected = "a model with ple_layer_ids, emb_neighbor_num, engram_layer_ids, n_embed_per_ngram, \
                            vocab_size_per_layer_input or over_encoding";
            Err(fields.fault("model_type", found, expected))
        }
    }

    /// The published configuration of a known model.
    pub fn published(name: SchemeName) -> Self {
        match name {
            SchemeName::EngramDemoV1 => Self::Demo(DemoConfig::published()),
            SchemeName::DeepSeekV41Flash => Self::DeepSeek(DeepSeekConfig::published()),
            SchemeName::Qwen38FlashNext => Self::Qwen(QwenConfig::published()),
            SchemeName::LongCatFlashLite | SchemeName::LongCatLite4096 | SchemeName::LongCat2 => {
                Self::LongCat(LongCatConfig::published(name))
            }
            SchemeName::Gemma3n => Self::Gemma(GemmaConfig::published(false)),
            SchemeName::Gemma4 => Self::Gemma(GemmaConfig::published(true)),
        }
    }

    /// The same model with tables about `factor` times smaller, and the rest shrunk to match. Vocabulary,
    /// orders, heads and row width stay; only where there are as many rows as tokens, the vocabulary shrinks.
    #[must_use]
    pub fn scaled_down(&self, factor: u64) -> Self {
        let mut scaled = self.clone();
        match &mut scaled {
            Self::Demo(config) => config.scale_down(factor),
            Self::DeepSeek(config) => config.scale_down(factor),
            Self::Qwen(config) => config.scale_down(factor),
            Self::LongCat(config) => config.scale_down(factor),
            Self::Gemma(config) => config.scale_down(factor),
            Self::OverEncoding(config) => config.scale_down(factor),
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
            Self::Gemma(config) => config.to_json(),
            Self::OverEncoding(config) => config.to_json(),
        }
    }

    /// Name of the scheme, after the model that is like it, or else the first of its family.
    pub fn name(&self) -> &str {
        let name = match self {
            Self::Demo(_) => SchemeName::EngramDemoV1,
            Self::DeepSeek(_) => SchemeName::DeepSeekV41Flash,
            Self::Qwen(_) => SchemeName::Qwen38FlashNext,
            Self::LongCat(config) => config.name(),
            Self::Gemma(config) => config.name(),
            Self::OverEncoding(config) => return &config.scheme.name,
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
        match self {
            Self::Demo(_) | Self::DeepSeek(_) => true,
            Self::Qwen(_) | Self::LongCat(_) | Self::Gemma(_) => false,
            Self::OverEncoding(config) => config.scheme.compressed,
        }
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
            Self::Gemma(config) => config.scheme(self.name()),
            Self::OverEncoding(config) => config.scheme(token_map),
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
            Self::Gemma(config) => config.table_tensors(layer),
            Self::OverEncoding(config) => config.table_tensors(layer),
        }
    }

    /// The other tensors of the Engram block of `layer`, as the model has them.
    pub fn other_tensors(&self, layer: LayerId) -> Vec<OtherTensor> {
        match self {
            Self::Demo(config) => config.other_tensors(layer),
            Self::DeepSeek(config) => config.other_tensors(layer),
            Self::Qwen(config) => config.other_tensors(layer),
            Self::LongCat(config) => config.other_tensors(),
            Self::Gemma(_) | Self::OverEncoding(_) => Vec::new(),
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
