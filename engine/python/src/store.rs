//! An open pack.

use std::{
    path::{Path, PathBuf, absolute},
    sync::{Arc, Mutex, MutexGuard},
};

use engram::{Backend, Config, LayerId, Request};
use engram_ffi::{Failure, LentTicket, lookup};
use engram_io::{Process, lock};
use pyo3::{
    Bound, Py, PyAny, PyRef, PyRefMut, PyResult, Python, intern, pyclass, pymethods,
    types::{PyAnyMethods, PyTuple},
};

use crate::{
    arguments::{self, Tokens, with_batch},
    errors::{bad_argument, closed, engine_error, raise},
    out::Out,
    row_ids::RowIds,
    scheme::{Layer, layers},
    sequence::{Sequence, hash},
    ticket::Ticket,
};

/// An open pack: the tables of a model, and the scheme by which tokens address their rows.
///
/// Made by `engram_tables.open`. Any threads may use it at the same time. Pickling it, which data loaders do for
/// workers that are spawned, opens the pack again where it is unpickled; in a forked process it is opened again when
/// it is first used, if its reader has threads. Calls on a closed store raise `errors.ClosedError`.
#[pyclass(frozen, weakref, module = "engram_tables")]
pub(crate) struct Store {
    /// Absolute, so that a worker with another folder opens the same pack.
    path: PathBuf,
    /// As JSON.
    settings: String,
    from_env: bool,
    opened: Mutex<Option<Opened>>,
}

#[derive(Clone)]
struct Opened {
    store: Arc<engram::Store>,
    process: Process,
}

impl Opened {
    /// Whether rows can be asked for in the process that calls.
    fn is_usable(&self) -> bool {
        let fetches = || {
            let backend = self.store.backend();
            matches!(backend, Backend::Direct { .. } | Backend::Frames { .. })
        };
        self.process.is_current() || !fetches()
    }
}

impl Store {
    /// The open store. In a process that was forked from the one that opened it, which has none of its reading threads,
    /// the pack is opened again.
    ///
    /// # Errors
    /// A store that was closed, or a pack that cannot be opened again.
    pub(crate) fn opened(&self, py: Python<'_>) -> PyResult<Arc<engram::Store>> {
        // Held by threads that hold the interpreter's lock and wait for nothing, so a fork finds it free.
        let opened = self.lock().clone().ok_or_else(closed)?;
        if opened.is_usable() {
            return Ok(opened.store);
        }
        let opened = open(py, &self.path, &self.settings, self.from_env)?;
        let store = opened.store.clone();
        *self.lock() = Some(opened);
        Ok(store)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Opened>> {
        lock(&self.opened)
    }
}

fn open(py: Python<'_>, path: &Path, settings: &str, from_env: bool) -> PyResult<Opened> {
    let store = py.detach(|| {
        let config = if from_env {
            Config::from_env()?
        } else {
            Config::new()
        };
        Ok::<_, Failure>(engram::Store::open(path, config.with_json(settings)?)?)
    });
    Ok(Opened {
        store: Arc::new(store.map_err(raise)?),
        process: Process::current(),
    })
}

#[pymethods]
impl Store {
    #[new]
    #[pyo3(signature = (path, settings = "{}", from_env = false))]
    fn new(py: Python<'_>, path: PathBuf, settings: &str, from_env: bool) -> PyResult<Self> {
        let path = absolute(&path).map_err(|error| bad_argument(format!("`path`: {error}")))?;
        let opened = open(py, &path, settings, from_env)?;
        Ok(Self {
            path,
            settings: settings.to_owned(),
            from_env,
            opened: Mutex::new(Some(opened)),
        })
    }

    /// Absolute path of the pack.
    #[getter]
    fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has been closed.
    #[getter]
    fn closed(&self) -> bool {
        self.lock().is_none()
    }

    /// How files are read, as far as the system allowed, for people: such as `io_uring, 1 thread`.
    #[getter]
    fn backend(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.opened(py)?.backend().to_string())
    }

    /// Name of the addressing scheme, such as `deepseek-v4.1-flash`.
    #[getter]
    fn scheme(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.opened(py)?.scheme().name.clone())
    }

    /// Token ids are below this number (or `DEAD`).
    #[getter]
    fn vocab_size(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.opened(py)?.hasher().vocab_size())
    }

    /// Tokens of the longest n-gram, N: the orders are 2 to N, or 1 alone where N is 1 and the row of a token is its
    /// id. Also the tokens of a window.
    #[getter]
    fn max_order(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.opened(py)?.scheme().max_order)
    }

    /// Hashes of each order.
    #[getter]
    fn heads(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.opened(py)?.scheme().heads)
    }

    /// Columns of each layer, which is the number of rows that a token reads there: orders times heads.
    #[getter]
    fn columns(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.opened(py)?.scheme().column_count())
    }

    /// The layers that have a table, as a tuple of `Layer`.
    #[getter]
    fn layers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, layers(py, &*self.opened(py)?)?)
    }

    /// The layer with the model's id `id`. Raises `errors.UnknownLayerError`.
    fn layer(&self, py: Python<'_>, id: u32) -> PyResult<Layer> {
        let store = self.opened(py)?;
        store.codec(LayerId(id)).map_err(engine_error)?;
        let mut layers = layers(py, &store)?.into_iter();
        layers
            .find(|layer| layer.id() == id)
            .ok_or_else(|| bad_argument(format!("layer {id} is not in the scheme")))
    }

    /// Hashes `tokens`, the first of a history: which rows they read, in every layer.
    ///
    /// `tokens` are int32, int64 or uint32 of any shape, or a list; -1 (`DEAD`) is a position without rows of its own,
    /// such as an image token. Histories that go on are a `sequence`. Raises `errors.TokenOutOfRangeError`.
    fn rows(&self, py: Python<'_>, tokens: &Bound<'_, PyAny>) -> PyResult<RowIds> {
        let tokens = Tokens::of(tokens, "tokens")?;
        let store = self.opened(py)?;
        hash(py, tokens.ids.len(), |out| {
            let mut sequence = engram::Sequence::new();
            store.hasher().extend(&mut sequence, &tokens.ids, out)
        })
    }

    /// Hashes positions whose last tokens the caller knows.
    ///
    /// `windows` is `[positions][max_order]`: the token of each position, then the one before it, and so on. No n-gram
    /// reaches a place where `blocked`, of the same shape, is true or the token is -1 (`DEAD`), nor anything older; so
    /// must be the places before the start of a history. Raises `errors.WindowTokenOutOfRangeError` or
    /// `errors.WindowShapeError`.
    #[pyo3(signature = (windows, blocked = None))]
    fn rows_of_windows(
        &self,
        py: Python<'_>,
        windows: &Bound<'_, PyAny>,
        blocked: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<RowIds> {
        let tokens = Tokens::of(windows, "windows")?;
        let blocked = blocked.map(|mask| arguments::mask(mask, &tokens.shape));
        let blocked = blocked.transpose()?;
        let store = self.opened(py)?;
        hash(py, tokens.ids.len(), |out| {
            let is_blocked = |index: usize| blocked.as_ref().is_some_and(|mask| mask[index]);
            store.hasher().hash_windows(&tokens.ids, is_blocked, out)
        })
    }

    /// An empty history of this store, as `Sequence(store)`.
    fn sequence(slf: Py<Self>) -> Sequence {
        Sequence::new(slf)
    }

    /// Appends `tokens[i]` to `sequences[i]` for all of them at once, as a decode step does. The rows of all follow one
    /// another in the same order. Raises `errors.TokenOutOfRangeError`; then no sequence has changed.
    fn extend_batch(
        &self,
        py: Python<'_>,
        sequences: Vec<Bound<'_, Sequence>>,
        tokens: Vec<Bound<'_, PyAny>>,
    ) -> PyResult<RowIds> {
        let (found, expected) = (tokens.len(), sequences.len());
        if found != expected {
            return Err(bad_argument(format!(
                "`tokens` is for {found} sequences, expected {expected}"
            )));
        }
        let tokens = tokens.iter().map(|tokens| Tokens::of(tokens, "tokens"));
        let tokens = tokens.collect::<PyResult<Vec<_>>>()?;
        let store = self.opened(py)?;
        let twice =
            |_| bad_argument("a sequence is in use or named twice, expected each at most once");
        let borrowed = sequences
            .iter()
            .map(|sequence| sequence.try_borrow_mut().map_err(twice));
        let mut borrowed: Vec<PyRefMut<'_, Sequence>> = borrowed.collect::<PyResult<_>>()?;
        let requests = borrowed
            .iter_mut()
            .zip(&tokens)
            .map(|(sequence, tokens)| Request {
                sequence: &mut sequence.sequence,
                tokens: &tokens.ids,
            });
        let mut requests: Vec<Request<'_>> = requests.collect();
        let count = tokens.iter().map(|tokens| tokens.ids.len()).sum();
        hash(py, count, |out| {
            store.hasher().extend_batch(&mut requests, out)
        })
    }

    /// The rows `rows` of `layer`, in their order. Waits for those that have to be read; other threads run meanwhile.
    ///
    /// `rows` is what hashing gave, or row ids as int32, int64 or uint64 of any shape `[...]`, or a list. A negative id
    /// is no row: its place becomes zeros. `dtype` is "float32", "float16" or "bfloat16" for decoded values
    /// `[...][width]`, or "stored" for the bytes of the checkpoint `[...][row_bytes]`; NumPy's and PyTorch's types do
    /// too. Without it, rows are what `out` is made of, else float32.
    ///
    /// `out` is written to and returned: an array, buffer or CPU tensor of the shape `[...][width]`, `[rows][width]` or
    /// flat, writable, whose rows may have gaps between them. A new array is bits (uint16) for "bfloat16". `priority`
    /// is "decode", "prefill" or "warm": whose reads go first, by the number of rows if not given.
    ///
    /// Raises `errors.RowsError` or `errors.IoError`, then `out` is all zeros; `errors.BadArgumentError` or
    /// `errors.ArgumentTypeError`, then it is untouched.
    #[pyo3(signature = (layer, rows, out = None, dtype = None, priority = None))]
    fn lookup(
        &self,
        py: Python<'_>,
        layer: u32,
        rows: &Bound<'_, PyAny>,
        out: Option<&Bound<'_, PyAny>>,
        dtype: Option<&Bound<'_, PyAny>>,
        priority: Option<&str>,
    ) -> PyResult<Py<PyAny>> {
        let store = self.opened(py)?;
        let codec = store.codec(LayerId(layer)).map_err(engine_error)?;
        with_batch(|batch| {
            let places = arguments::set_rows(batch, LayerId(layer), rows)?;
            batch.set_priority(arguments::priority(priority)?);
            let out = Out::new(py, out, dtype, codec, &places)?;
            // SAFETY: `out` lives until the rows have come.
            let target = unsafe { out.target(batch, codec)? };
            let value_type = out.dtype.value_type();
            py.detach(|| lookup(&store, batch, value_type, target))
                .map_err(raise)?;
            Ok(out.array)
        })
    }

    /// Begins to bring rows, and returns a `Ticket` at once. The arguments are those of `lookup`.
    ///
    /// Nobody may use `out` until the ticket has been waited for; it keeps `out` alive.
    #[pyo3(signature = (layer, rows, out = None, dtype = None, priority = None))]
    fn submit(
        &self,
        py: Python<'_>,
        layer: u32,
        rows: &Bound<'_, PyAny>,
        out: Option<&Bound<'_, PyAny>>,
        dtype: Option<&Bound<'_, PyAny>>,
        priority: Option<&str>,
    ) -> PyResult<Ticket> {
        let store = self.opened(py)?;
        let codec = store.codec(LayerId(layer)).map_err(engine_error)?;
        with_batch(|batch| {
            let places = arguments::set_rows(batch, LayerId(layer), rows)?;
            batch.set_priority(arguments::priority(priority)?);
            let out = Out::new(py, out, dtype, codec, &places)?;
            // SAFETY: the ticket keeps `out` until nobody writes there any more.
            let target = unsafe { out.target(batch, codec)? };
            let value_type = out.dtype.value_type();
            let submitted = py.detach(|| LentTicket::submit(&store, batch, value_type, target));
            Ok(Ticket::new(submitted.map_err(raise)?, out))
        })
    }

    /// Reads rows into the cache, so that later calls find them there. Waits until that is done.
    fn warm(&self, py: Python<'_>, layer: u32, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        let store = self.opened(py)?;
        with_batch(|batch| {
            arguments::set_rows(batch, LayerId(layer), rows)?;
            py.detach(|| store.warm(batch.rows())).map_err(engine_error)
        })
    }

    /// Waits until the rows of the profile are in the cache, as many as it has room for, and returns how many were
    /// read: 0 without a profile or a cache. Lookups need not wait for it.
    fn wait_seeded(&self, py: Python<'_>) -> PyResult<u64> {
        let store = self.opened(py)?;
        py.detach(|| store.wait_seeded().map_err(Failure::from))
            .map_err(raise)
    }

    /// What has been done since the pack was opened: for each of `tables` the batches, rows, reads, bytes and
    /// nanoseconds of waiting, and what its columns found in the cache; and the sizes of caches and buffers in bytes.
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let text = self.opened(py)?.metrics().to_json();
        let json = py.import("json")?;
        json.call_method1(intern!(py, "loads"), (text,))
    }

    /// The same in the text format of Prometheus.
    fn prometheus(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.opened(py)?.metrics().to_prometheus())
    }

    /// Closes it. Tickets that were asked of it are still served.
    fn close(&self, py: Python<'_>) {
        let opened = self.lock().take();
        // The last one to hold it waits for its threads.
        py.detach(|| drop(opened));
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _trace: &Bound<'_, PyAny>,
    ) {
        self.close(py);
    }

    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyAny>, (PathBuf, String, bool))> {
        let store = slf.get();
        if store.lock().is_none() {
            return Err(closed());
        }
        let arguments = (store.path.clone(), store.settings.clone(), store.from_env);
        Ok((slf.get_type().into_any(), arguments))
    }

    fn __repr__(&self) -> String {
        let state = if self.lock().is_none() {
            ", closed"
        } else {
            ""
        };
        format!("<engram_tables.Store {}{state}>", self.path.display())
    }
}
