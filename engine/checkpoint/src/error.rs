//! Why a checkpoint cannot be read.

use std::{fmt, path::PathBuf};

use engram_format::{FormatError, LayerId, SchemeError, TokenMapError};
use engram_io::IoError;
use thiserror::Error;

use crate::{
    gguf::GgufError,
    nearest::{nearest_of, quoted},
    size::{grouped, missing},
    stand_in::StandIn,
    tokenizer::TokenizerError,
};

/// A field of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigField {
    /// Its name.
    pub name: String,
    /// The object that it is in.
    pub level: String,
    /// Its value.
    pub value: String,
}

impl fmt::Display for ConfigField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` at {} is {}", self.name, self.level, self.value)
    }
}

/// A checkpoint whose tables cannot be found.
///
/// Each message is a whole sentence that includes its cause, so `source()` does not repeat it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file that is missing or cannot be read.
    #[error(transparent)]
    Io(#[from] IoError),
    /// Something else in a file's place, such as a git-lfs pointer.
    #[error("{}: {found}", path.display())]
    StandIn {
        /// The file.
        path: PathBuf,
        /// What is there.
        found: StandIn,
    },
    /// JSON that ends too early.
    #[error("{}: {cause}; the file ends too early, its download may not be complete", path.display())]
    CutJson {
        /// The file.
        path: PathBuf,
        /// Where it ends.
        cause: serde_json::Error,
    },
    /// A safetensors file that ends too early.
    #[error(
        "{}: header and tensors take {expected} bytes, the file has {found}; {}",
        path.display(),
        missing(expected - found)
    )]
    CutTensors {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        found: u64,
        /// The bytes that it should have; more than that.
        expected: u64,
    },
    /// A file that is no JSON.
    #[error("{}: {cause}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it fails.
        cause: serde_json::Error,
    },
    /// A field of `config.json` that is missing or makes no sense.
    #[error("{}: `{field}` is {found}, expected {expected}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// Its value.
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// A field of a family's tables that is not known: rows may depend on it.
    #[error(
        "{}: `{field}` at {level} is unknown, but its name is one of n-gram tables: rows may depend on it, so the \
         checkpoint is not read",
        path.display()
    )]
    UnknownField {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// The object that it is in.
        level: String,
    },
    /// A field that is not where the model's library looks for it.
    #[error("{}: `{field}` is at {level}, expected at {expected}, where the model's other fields are", path.display())]
    MisplacedField {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// The object that it is in.
        level: String,
        /// The object that it should be in.
        expected: String,
    },
    /// Two fields that should have the same value.
    #[error("{}: {}, but {}", path.display(), fields[0], fields[1])]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// The one at the level of the model's other fields, then the one that contradicts it.
        fields: Box<[ConfigField; 2]>,
    },
    /// A safetensors header that is damaged or lies.
    #[error("{}: safetensors header: {reason}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A GGUF file that is damaged, lies, or holds tables that are not known.
    #[error("{}: {cause}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: Box<GgufError>,
    },
    /// A tensor that should be there.
    #[error(
        "{}: no tensor named `{name}`, with or without a prefix; {}",
        folder.display(),
        nearest_of(nearest)
    )]
    MissingTensor {
        /// The checkpoint.
        folder: PathBuf,
        /// Its name, or the end of it.
        name: String,
        /// Names of tensors that are most like it.
        nearest: Vec<String>,
    },
    /// Several tensors that could be the one that is meant.
    #[error("{}: `{name}` may be any of {}, expected one", folder.display(), quoted(found))]
    AmbiguousTensor {
        /// The checkpoint.
        folder: PathBuf,
        /// Its name, or the end of it.
        name: String,
        /// Names of the tensors.
        found: Vec<String>,
    },
    /// A tensor that several files have, and the index does not say which of them counts.
    #[error("{}: tensor `{name}` is in {}, and the index names none of them for it", folder.display(), quoted(files))]
    DuplicateTensor {
        /// The checkpoint.
        folder: PathBuf,
        /// The tensor.
        name: String,
        /// The files.
        files: Vec<String>,
    },
    /// Tables whose tensors have no prefix in common.
    #[error(
        "{}: the tables of the layers have no prefix of their names in common, those of draft heads left out; \
         there are {}",
        folder.display(),
        quoted(found)
    )]
    NoCommonPrefix {
        /// The checkpoint.
        folder: PathBuf,
        /// Names of the tables' tensors.
        found: Vec<String>,
    },
    /// A table whose prefix is that of some layers only, such as a draft head.
    #[error(
        "{}: `{tensor}` is not the model's table: layers {layers:?} have its prefix, but layers {others:?} have \
         `{other}`",
        folder.display()
    )]
    PartialPrefix {
        /// The checkpoint.
        folder: PathBuf,
        /// The tensor.
        tensor: String,
        /// Layers with its prefix.
        layers: Box<[u64]>,
        /// The prefix of more layers.
        other: String,
        /// Those layers.
        others: Box<[u64]>,
    },
    /// A tensor of another kind than the configuration says.
    #[error("{}: tensor `{name}`: {field} is {found}, expected {expected}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What differs.
        field: &'static str,
        /// Its value.
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// A table whose columns do not add up to its rows.
    #[error(
        "layer {layer}: the checkpoint's table has {found} rows, the columns of the scheme have {expected} together; \
         the configuration belongs to another checkpoint"
    )]
    RowCount {
        /// The model's layer id.
        layer: LayerId,
        /// Rows in the checkpoint.
        found: u64,
        /// Rows by the scheme.
        expected: u64,
    },
    /// A table with more rows than its columns, of which those at the end are no padding.
    #[error(
        "layer {layer}: the checkpoint's table has {found} rows, the columns of the scheme have {expected} together; \
         the {} rows more are no padding, since row {row} of `{tensor}` is not zero: the configuration belongs to \
         another checkpoint",
        grouped(found - expected)
    )]
    NoPadding {
        /// The model's layer id.
        layer: LayerId,
        /// Rows in the checkpoint.
        found: u64,
        /// Rows by the scheme; fewer.
        expected: u64,
        /// The tensor whose last rows are no padding.
        tensor: String,
        /// The first of them, by its place in the tensor.
        row: u64,
    },
    /// Neither a tokenizer nor a token map.
    #[error(
        "{}: the model hashes compressed ids, but there is neither tokenizer.json nor token_map.u32le; \
         give the path of one",
        folder.display()
    )]
    NoTokenMap {
        /// The checkpoint.
        folder: PathBuf,
    },
    /// A token map that cannot be used.
    #[error("{}: {cause}", path.display())]
    TokenMap {
        /// The tokenizer or the map.
        path: PathBuf,
        /// What is wrong.
        cause: TokenMapError,
    },
    /// A tokenizer that cannot be used.
    #[error("{}: {cause}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: TokenizerError,
    },
    /// Constants that cannot be derived.
    #[error("{}: {cause}", path.display())]
    Scheme {
        /// The configuration.
        path: PathBuf,
        /// What is wrong.
        cause: SchemeError,
    },
    /// Rows that no codec stores.
    #[error("layer {layer}: {cause}")]
    Codec {
        /// The model's layer id.
        layer: LayerId,
        /// What is wrong.
        cause: FormatError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(error: CheckpointError) -> [String; 2] {
        let error = anyhow::Error::from(error);
        [format!("{error:#}"), format!("{error:?}")]
    }

    #[test]
    fn a_cause_is_printed_once() {
        let path = || PathBuf::from("checkpoint/file");
        let cases = [
            (
                CheckpointError::Json {
                    path: path(),
                    cause: serde_json::from_str::<u8>("{").unwrap_err(),
                },
                "invalid type: map, expected u8",
            ),
            (
                CheckpointError::TokenMap {
                    path: path(),
                    cause: TokenMapError::Empty,
                },
                "no entries",
            ),
            (
                CheckpointError::Tokenizer {
                    path: path(),
                    cause: TokenizerError::Token {
                        id: 7,
                        cause: "no such piece".into(),
                    },
                },
                "no such piece",
            ),
            (
                CheckpointError::Scheme {
                    path: path(),
                    cause: SchemeError::MissingTokenMap {
                        scheme: "gpt".into(),
                    },
                },
                "needs a token map",
            ),
            (
                CheckpointError::Codec {
                    layer: LayerId(1),
                    cause: FormatError::Scheme(SchemeError::MissingTokenMap {
                        scheme: "gpt".into(),
                    }),
                },
                "needs a token map",
            ),
        ];
        for (error, cause) in cases {
            for printed in printed(error) {
                assert_eq!(printed.matches(cause).count(), 1, "{printed}");
            }
        }
    }
}
