//! Why a checkpoint cannot be read.

use std::path::PathBuf;

use engram_format::{FormatError, LayerId, SchemeError, TokenMapError};
use engram_io::IoError;
use thiserror::Error;

use crate::tokenizer::TokenizerError;

/// A checkpoint whose tables cannot be found.
///
/// Each message is a whole sentence that includes its cause, so `source()` does not repeat it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file that is missing or cannot be read.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A file larger than any such file of a published model, refused before it is read.
    #[error("{}: {found} bytes, expected at most {most}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// The most bytes that are read.
        most: u64,
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
    /// A safetensors header that is damaged or lies.
    #[error("{}: safetensors header: {reason}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor that should be there.
    #[error("{}: no tensor named `{name}`, with or without a prefix", folder.display())]
    MissingTensor {
        /// The checkpoint.
        folder: PathBuf,
        /// Its name, or the end of it.
        name: String,
    },
    /// The end of a name that several tensors share.
    #[error("{}: several tensors are named `{name}` after some prefix, expected one", folder.display())]
    AmbiguousTensor {
        /// The checkpoint.
        folder: PathBuf,
        /// The end of their names.
        name: String,
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
