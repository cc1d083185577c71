//! Rows that come while the caller does something else.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::{Mutex, MutexGuard, OnceLock},
    time::{Duration, Instant},
};

use engram_ffi::LentTicket;
use engram_io::lock;
use pyo3::{
    Bound, Py, PyAny, PyResult, Python, exceptions::PyTimeoutError, pyclass, pymethods,
    types::PyAnyMethods,
};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::Errno,
};

use crate::{
    errors::{bad_argument, engine_error, raise},
    out::Out,
};

/// Rows on their way. `wait` for them, `await` the ticket in asyncio, or watch its `fileno`. Any thread may use it. One
/// that is dropped is cancelled.
#[pyclass(frozen, weakref, module = "engram_tables")]
pub(crate) struct Ticket {
    /// None once this is being dropped. Held by nobody who waits for the interpreter's lock.
    lent: Mutex<Option<LentTicket>>,
    /// Becomes readable when the ticket is done; made when somebody asks for it.
    event: OnceLock<OwnedFd>,
    /// Outlives the ticket, which writes to it.
    out: Out,
}

impl Ticket {
    pub(crate) fn new(ticket: LentTicket, out: Out) -> Self {
        Self {
            lent: Mutex::new(Some(ticket)),
            event: OnceLock::new(),
            out,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<LentTicket>> {
        lock(&self.lent)
    }

    fn is_done(&self) -> bool {
        self.lock().as_ref().is_none_or(LentTicket::is_done)
    }

    /// The event file. Readable at once if the ticket has been waited for or cancelled.
    fn event(&self) -> PyResult<&OwnedFd> {
        // Held until it is made, as a second one would take the place of the first.
        let ticket = self.lock();
        if let Some(event) = self.event.get() {
            return Ok(event);
        }
        let unfinished = ticket.as_ref().and_then(|ticket| ticket.unfinished().ok());
        let event = match unfinished {
            Some(ticket) => ticket.eventfd().map_err(engine_error)?,
            None => eventfd(1, EventfdFlags::CLOEXEC).map_err(io::Error::from)?,
        };
        Ok(self.event.get_or_init(|| event))
    }
}

/// Waits until `event` is readable, or the time is over.
fn wait_readable(event: &OwnedFd, left: Option<Duration>) -> rustix::io::Result<bool> {
    let left = left.map(|left| Timespec::try_from(left).unwrap_or(LONGEST));
    let ready = poll(&mut [PollFd::new(event, PollFlags::IN)], left.as_ref())?;
    Ok(ready > 0)
}

const LONGEST: Timespec = Timespec {
    tv_sec: i64::MAX,
    tv_nsec: 0,
};

#[pymethods]
impl Ticket {
    /// Waits until all rows are there, and returns the array. At most `timeout` seconds, then raises `TimeoutError`;
    /// the ticket goes on. Ctrl-C ends the waiting too. Waiting once more says the same.
    ///
    /// Raises `errors.RowsError` or `errors.IoError`, then the array is all zeros; `errors.CancelledError`.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let timeout = timeout.map(Duration::try_from_secs_f64).transpose();
        let timeout = timeout.map_err(|error| bad_argument(format!("`timeout`: {error}")))?;
        let began = Instant::now();
        // Others run meanwhile, and so do handlers of signals, such as that of Ctrl-C.
        while !self.is_done() {
            let event = self.event()?;
            let left = timeout.map(|timeout| timeout.saturating_sub(began.elapsed()));
            match py.detach(|| wait_readable(event, left)) {
                Ok(true) => break,
                Ok(false) => return Err(PyTimeoutError::new_err("the rows have not come yet")),
                Err(Errno::INTR) => py.check_signals()?,
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
        py.detach(|| self.lock().as_mut().map_or(Ok(()), LentTicket::wait))
            .map_err(raise)?;
        Ok(self.out.array.clone_ref(py))
    }

    /// Whether `wait` would return at once.
    #[getter]
    fn done(&self) -> bool {
        self.is_done()
    }

    /// Lets go of the rows: what has not been read is not read. Reads in flight may still write to the array for some
    /// milliseconds; it may be used again after `wait` has raised, or once the ticket is gone.
    fn cancel(&self) {
        if let Some(ticket) = &mut *self.lock() {
            ticket.cancel();
        }
    }

    /// A file that becomes readable when the ticket is done, for `select` and event loops. It is closed with the
    /// ticket.
    fn fileno(&self) -> PyResult<RawFd> {
        Ok(self.event()?.as_raw_fd())
    }

    fn __await__(slf: Py<Self>, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let wait = py.import("engram_tables._await")?.getattr("wait")?;
        wait.call1((slf,))?.call_method0("__await__")
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let ticket = self.lock().take();
        // It waits for reads in flight, which others need not.
        Python::attach(|py| py.detach(|| drop(ticket)));
    }
}
