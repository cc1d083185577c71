//! What can be wrong with a model.

use std::{io, path::PathBuf};

use candle_core::Tensor;

/// A model that cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that is missing or cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file that is no JSON, or lacks a field, or has one of another type.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it fails.
        source: serde_json::Error,
    },
    /// A field of `config.json` that names something unknown, or contradicts another.
    #[error("{}: `{field}` is {found}, expected {expected}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What would do.
        expected: String,
    },
    /// A safetensors file, or its index, that is damaged or lies.
    #[error("{}: {reason}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor that the configuration asks for.
    #[error("{}: no tensor `{name}`, expected one of shape {expected:?}", path.display())]
    MissingTensor {
        /// The file, or the index of files.
        path: PathBuf,
        /// Its name.
        name: String,
        /// The shape it must have.
        expected: Vec<usize>,
    },
    /// A tensor of another kind than the configuration asks for.
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
    /// A tensor that the configuration has no place for: it belongs to another model.
    #[error("{}: tensor `{name}` has no place in the model of config.json", path.display())]
    UnknownTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// No tokens at all.
    #[error("the tokens have the shape {found:?}: there are none")]
    NoTokens {
        /// Their shape.
        found: Vec<usize>,
    },
    /// A token outside the vocabulary.
    #[error("token {token} at {position} of sequence {sequence}: the vocabulary has {vocabulary}")]
    Token {
        /// The token.
        token: u32,
        /// Index in the batch.
        sequence: usize,
        /// Index in the call's tokens.
        position: usize,
        /// Tokens in the vocabulary.
        vocabulary: usize,
    },
    /// A cache of another model, or of another number of sequences.
    #[error("the cache: {field} is {found}, expected {expected}")]
    Cache {
        /// What differs.
        field: &'static str,
        /// Of the cache.
        found: usize,
        /// Of the model, or of the tokens.
        expected: usize,
    },
    /// A tensor of another shape than the others, or the rows, ask for.
    #[error("tensor {name} has the shape {found:?}, expected {expected:?}")]
    Shape {
        /// The tensor.
        name: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it must have.
        expected: Vec<usize>,
    },
    /// A computation that failed.
    #[error(transparent)]
    Compute(#[from] candle_core::Error),
}

/// Checks the shape of the tensor called `name`.
pub(crate) fn expect_shape(
    name: &'static str,
    tensor: &Tensor,
    expected: &[usize],
) -> Result<(), Error> {
    if tensor.dims() == expected {
        return Ok(());
    }
    Err(Error::Shape {
        name,
        found: tensor.dims().to_vec(),
        expected: expected.to_vec(),
    })
}
