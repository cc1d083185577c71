//! Why a model cannot be trained.

use std::path::PathBuf;

use engram::{AddressError, SchemeError};
use engram_checkpoint::CheckpointError;
use engram_format::Digest;
use engram_io::IoError;

/// A model that cannot be trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be read or written.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A file that is no text.
    #[error("{}: byte {position} is no UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Where the text ends.
        position: usize,
    },
    /// Too little text to learn from.
    #[error("{what} has {found}, expected {expected} at least")]
    TooLittle {
        /// What there is too little of.
        what: &'static str,
        /// How much there is.
        found: String,
        /// What would do.
        expected: String,
    },
    /// A recipe that makes no sense.
    #[error("{field} is {found}, expected {expected}")]
    Recipe {
        /// What makes no sense.
        field: &'static str,
        /// Its value.
        found: String,
        /// What would do.
        expected: String,
    },
    /// A vocabulary that cannot be made.
    #[error("the vocabulary: {0}")]
    Vocabulary(tokenizers::Error),
    /// A state that another training left.
    #[error(
        "{} belongs to another training: {field} is {found} there, but {expected} now",
        path.display()
    )]
    Resume {
        /// The state.
        path: PathBuf,
        /// What differs.
        field: String,
        /// Its value in the state.
        found: String,
        /// Its value in this training.
        expected: String,
    },
    /// A state that is no safetensors file.
    #[error("{} is no state of a training: {source}", path.display())]
    StateFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: safetensors::SafeTensorError,
    },
    /// A safetensors file that is no state.
    #[error(
        "{} is no state of a training: its metadata field `{field}` is missing or unreadable",
        path.display()
    )]
    StateMetadata {
        /// The file.
        path: PathBuf,
        /// The field that every state has.
        field: &'static str,
    },
    /// A state whose contents have changed since it was written.
    #[error("{} is damaged: its digest is {found}, expected {expected}", path.display())]
    StateDigest {
        /// The state.
        path: PathBuf,
        /// The digest of its contents.
        found: Digest,
        /// The digest it was written with.
        expected: Digest,
    },
    /// A tensor of a state that is missing, or of another type or shape than this training's.
    #[error("{}: tensor {name} is {found}, expected {expected}", path.display())]
    StateTensor {
        /// The state.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type and shape, or that it is missing.
        found: String,
        /// The type and shape that the training needs.
        expected: String,
    },
    /// A state with updates of a weight that the model does not have.
    #[error("{} has updates of the weight {name}, which this model does not have", path.display())]
    StateTensorUnknown {
        /// The state.
        path: PathBuf,
        /// The weight.
        name: String,
    },
    /// A loss, or a gradient, that is no number: the learning rate is too large.
    #[error(
        "the loss of step {step} is {loss}, the norm of its gradients {norm}: try a smaller rate"
    )]
    Diverged {
        /// The step, from zero.
        step: usize,
        /// Its loss.
        loss: f64,
        /// The norm of its gradients.
        norm: f64,
    },
    /// A configuration that cannot be read back.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Constants that make no scheme.
    #[error(transparent)]
    Scheme(#[from] SchemeError),
    /// A token that the scheme does not know.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A model that cannot be built or run.
    #[error(transparent)]
    Model(#[from] engram_model::Error),
    /// A computation that failed.
    #[error(transparent)]
    Compute(#[from] candle_core::Error),
}
