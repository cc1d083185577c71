//! The history of one request.

use engram::{AddressError, Hasher};
use pyo3::{Bound, Py, PyAny, PyResult, Python, pyclass, pymethods};

use crate::{arguments::Tokens, errors::engine_error, row_ids::RowIds, store::Store};

/// Tokens from which on others may run while they are hashed: releasing the interpreter costs as much as hashing a few.
const LONG_TOKENS: usize = 256;

/// The history of one request, of which the n-grams of its next tokens are made. One thread at a time may use it. `len`
/// gives its tokens, dead positions included.
#[pyclass(module = "engram_tables")]
pub(crate) struct Sequence {
    pub(crate) sequence: engram::Sequence,
    store: Py<Store>,
}

#[pymethods]
impl Sequence {
    #[new]
    pub(crate) fn new(store: Py<Store>) -> Self {
        Self {
            sequence: engram::Sequence::new(),
            store,
        }
    }

    /// Appends `tokens` (see `Store.rows`) and hashes them. However tokens are split into calls, they get the same
    /// rows. Raises `errors.TokenOutOfRangeError`; then nothing has changed.
    fn extend(&mut self, py: Python<'_>, tokens: &Bound<'_, PyAny>) -> PyResult<RowIds> {
        let tokens = Tokens::of(tokens, "tokens")?;
        let store = self.store.get().opened(py)?;
        let sequence = &mut self.sequence;
        hash(py, tokens.ids.len(), |out| {
            store.hasher().extend(sequence, &tokens.ids, out)
        })
    }

    /// The rows that `extend` would give; the history stays as it is.
    fn peek(&self, py: Python<'_>, tokens: &Bound<'_, PyAny>) -> PyResult<RowIds> {
        let tokens = Tokens::of(tokens, "tokens")?;
        let store = self.store.get().opened(py)?;
        hash(py, tokens.ids.len(), |out| {
            store.hasher().peek(&self.sequence, &tokens.ids, out)
        })
    }

    /// Appends `tokens` without hashing them, such as a prefix whose outcome is cached elsewhere.
    fn advance(&mut self, py: Python<'_>, tokens: &Bound<'_, PyAny>) -> PyResult<()> {
        let tokens = Tokens::of(tokens, "tokens")?;
        let store = self.store.get().opened(py)?;
        let hasher: &Hasher = store.hasher();
        let advanced = hasher.advance(&mut self.sequence, &tokens.ids);
        advanced.map_err(engine_error)
    }

    /// Drops all but the first `len` tokens, for example speculative ones that were rejected. Does nothing to a shorter
    /// history.
    fn truncate(&mut self, len: usize) {
        self.sequence.truncate(len);
    }

    /// A copy that grows independently from here on.
    fn fork(&self, py: Python<'_>) -> Self {
        Self {
            sequence: self.sequence.fork(),
            store: self.store.clone_ref(py),
        }
    }

    fn __len__(&self) -> usize {
        self.sequence.len()
    }

    fn __repr__(&self) -> String {
        format!("Sequence(len={})", self.sequence.len())
    }
}

/// Lets `run` hash `tokens` tokens.
///
/// # Errors
/// A token outside the vocabulary.
pub(crate) fn hash(
    py: Python<'_>,
    tokens: usize,
    run: impl FnOnce(&mut engram::RowIds) -> Result<(), AddressError> + Send,
) -> PyResult<RowIds> {
    let mut ids = engram::RowIds::new();
    let hashed = if tokens < LONG_TOKENS {
        run(&mut ids)
    } else {
        py.detach(|| run(&mut ids))
    };
    hashed.map_err(engine_error)?;
    Ok(RowIds { ids })
}
