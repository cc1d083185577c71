//! Errors of the engine as Python exceptions.

use engram_ffi::{ErrorKind, Failure};
use pyo3::{PyErr, PyResult, Python, types::PyAnyMethods};

/// The exception for `failure`: `engram_tables.errors` has a class for each kind.
pub(crate) fn raise(failure: Failure) -> PyErr {
    named(&format!("{:?}Error", failure.kind), failure.message)
}

/// The exception for an error of the engine.
pub(crate) fn engine_error(error: impl Into<Failure>) -> PyErr {
    raise(error.into())
}

/// An argument with a value that it cannot have.
pub(crate) fn bad_argument(message: impl Into<String>) -> PyErr {
    raise(Failure::new(ErrorKind::BadArgument, message))
}

/// An argument of a type that it cannot have.
pub(crate) fn bad_type(message: impl Into<String>) -> PyErr {
    named("ArgumentTypeError", message.into())
}

/// A store that was closed.
pub(crate) fn closed() -> PyErr {
    named("ClosedError", "the store has been closed".into())
}

/// Building, attaching or verifying that has failed.
pub(crate) fn pack_error(error: &anyhow::Error) -> PyErr {
    named("PackError", format!("{error:#}"))
}

fn named(class: &str, message: String) -> PyErr {
    Python::attach(|py| {
        let make = || -> PyResult<PyErr> {
            let class = py.import("engram_tables.errors")?.getattr(class)?;
            Ok(PyErr::from_value(class.call1((message,))?))
        };
        make().unwrap_or_else(|error| error)
    })
}
