//! Why a checkpoint cannot be read.

use std::path::PathBuf;

use engram_format::{FormatError, LayerId, SchemeError, TokenMapError};
use engram_io::IoError;
use thiserror::Error;

use crate::TokenizerError;

/// A checkpoint whose tables cannot be found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file that is missing or cannot be read.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A file that is no JSON.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it fails.
        source: serde_json::Error,
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
        /// What would do.
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
    #[error("{}: no tensor named `{name}`, or more than one", folder.display())]
    MissingTensor {
        /// The checkpoint.
        folder: PathBuf,
        /// Its name, or the end of it.
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
        /// What would do.
        expected: String,
    },
    /// A table whose columns do not add up to its rows.
    #[error(
        "layer {layer}: the checkpoint's table has {found} rows, the columns of the scheme have {expected} together; the configuration belongs to another checkpoint"
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
    #[error("{}: the scheme hashes compressed ids, but there is neither tokenizer.json nor token_map.u32le; name one", folder.display())]
    NoTokenMap {
        /// The checkpoint.
        folder: PathBuf,
    },
    /// A token map that cannot be used.
    #[error("{}: {source}", path.display())]
    TokenMap {
        /// The tokenizer or the map.
        path: PathBuf,
        /// What is wrong.
        source: TokenMapError,
    },
    /// A tokenizer that cannot be used.
    #[error("{}: {source}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TokenizerError,
    },
    /// Constants that cannot be derived.
    #[error("{}: {source}", path.display())]
    Scheme {
        /// The configuration.
        path: PathBuf,
        /// What is wrong.
        source: SchemeError,
    },
    /// Rows that no codec stores.
    #[error("layer {layer}: {source}")]
    Codec {
        /// The model's layer id.
        layer: LayerId,
        /// What is wrong.
        source: FormatError,
    },
}
