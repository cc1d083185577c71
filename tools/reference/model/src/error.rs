//! What can be wrong with a model.

use std::path::PathBuf;

use candle_core::Tensor;
use engram::{AddressError, LayerId, LookupError};
use engram_checkpoint::CheckpointError;

/// A model that cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that is missing, damaged, or says what is not known here.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A tensor that the configuration asks for.
    #[error("{}: no tensor `{name}`, expected one of shape {expected:?}", path.display())]
    MissingTensor {
        /// The checkpoint.
        path: PathBuf,
        /// Its name.
        name: String,
        /// The shape it must have.
        expected: Vec<usize>,
    },
    /// A tensor that the configuration has no place for: it belongs to another model.
    #[error("{}: tensor `{name}` has no place in the model of config.json", path.display())]
    UnknownTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor that the configuration asks for and that was not given.
    #[error("no tensor `{name}` is given, expected one of shape {expected:?}")]
    NotGiven {
        /// Its name.
        name: String,
        /// The shape it must have.
        expected: Vec<usize>,
    },
    /// A given tensor that the configuration has no place for.
    #[error("the given tensor `{name}` has no place in the model")]
    NoPlace {
        /// Its name.
        name: String,
    },
    /// A pack that belongs to another model.
    #[error(
        "{} differs from the pack in {field}: {found}, but {expected} in the pack",
        path.display()
    )]
    Pack {
        /// The configuration, or the tokenizer.
        path: PathBuf,
        /// What differs.
        field: String,
        /// Its value in the model.
        found: String,
        /// Its value in the pack.
        expected: String,
    },
    /// No tokens at all.
    #[error("none of the {sequences} sequences has a token")]
    NoTokens {
        /// How many there are.
        sequences: usize,
    },
    /// A prompt without tokens.
    #[error("the prompt of sequence {sequence} has no tokens, expected one at least")]
    Prompt {
        /// Index of the sequence.
        sequence: usize,
    },
    /// A choice of tokens that makes no sense.
    #[error("{field} is {found}, expected {expected}")]
    Sampling {
        /// What makes no sense.
        field: &'static str,
        /// Its value.
        found: f64,
        /// What would do.
        expected: &'static str,
    },
    /// Logits that are not numbers: weights or rows are damaged, or too large for f32.
    #[error("the logits of sequence {sequence} are not numbers")]
    NotANumber {
        /// Index of the sequence.
        sequence: usize,
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
    /// A session of another number of sequences than a pass has.
    #[error("the session has {expected} sequences, but the pass has {found}")]
    SessionSequences {
        /// Sequences of the pass.
        found: usize,
        /// Sequences of the session.
        expected: usize,
    },
    /// A session that has seen other tokens than the cache.
    #[error("sequence {sequence} has {found} tokens in the session, but {expected} in the cache")]
    History {
        /// Index of the sequence.
        sequence: usize,
        /// Tokens that the session knows.
        found: usize,
        /// Tokens that the cache holds.
        expected: usize,
    },
    /// A tensor of another shape than the others, or the rows, ask for.
    #[error("{what} has the shape {found:?}, expected {expected:?}")]
    Shape {
        /// The tensor, as the subject of a sentence.
        what: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it must have.
        expected: Vec<usize>,
    },
    /// A convolution that cannot be taken back so far.
    #[error(
        "sequence {sequence} cannot be cut back to {len} tokens: the convolution of layer {layer} has \
         forgotten what is before token {least}"
    )]
    Rollback {
        /// The model's layer id.
        layer: LayerId,
        /// Index of the sequence.
        sequence: usize,
        /// Tokens to be kept.
        len: usize,
        /// The fewest that it can be cut back to; or none at all.
        least: usize,
    },
    /// A residual stream that cannot be compared with another.
    #[error("the residual stream at depth {depth} is the same at every position")]
    Constant {
        /// Layers before it.
        depth: usize,
    },
    /// A token that the pack's scheme does not know.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Rows that cannot be had.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A ring over another store than the blocks have.
    #[cfg(feature = "ring")]
    #[error("the ring takes its rows from another store than the blocks")]
    RingStore,
    /// A ring whose values are not f32.
    #[cfg(feature = "ring")]
    #[error("the ring decodes rows to {found:?}, expected F32")]
    RingOutput {
        /// What it decodes to.
        found: engram::ValueType,
    },
    /// A device that did not bring rows.
    #[cfg(feature = "ring")]
    #[error(transparent)]
    Device(#[from] engram_cuda::DeviceError),
    /// A computation that failed.
    #[error(transparent)]
    Compute(#[from] candle_core::Error),
}

/// Checks the shape of `tensor`, which errors call `what`.
pub(crate) fn expect_shape(what: &str, tensor: &Tensor, expected: &[usize]) -> Result<(), Error> {
    if tensor.dims() == expected {
        return Ok(());
    }
    Err(Error::Shape {
        what: what.into(),
        found: tensor.dims().to_vec(),
        expected: expected.to_vec(),
    })
}
