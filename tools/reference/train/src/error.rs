//! What can keep a model from being trained.

use std::path::PathBuf;

use engram::{AddressError, SchemeError};
use engram_checkpoint::CheckpointError;
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
    /// A state that is damaged.
    #[error("{}: {field} is {found}, expected {expected}", path.display())]
    State {
        /// The state.
        path: PathBuf,
        /// What is wrong.
        field: String,
        /// What was found.
        found: String,
        /// What should be there.
        expected: String,
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
