//! Arrays that are handed out where the caller gives none.

use pyo3::{
    Bound, Py, PyAny, PyResult, Python, intern,
    sync::PyOnceLock,
    types::{PyAnyMethods, PyByteArray, PyMemoryView, PyTuple},
};

/// A type of items.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewItems {
    numpy: &'static str,
    /// For `memoryview`.
    format: &'static str,
    pub(crate) bytes: usize,
}

impl NewItems {
    pub(crate) const fn new(numpy: &'static str, format: &'static str, bytes: usize) -> Self {
        Self {
            numpy,
            format,
            bytes,
        }
    }
}

/// A new array, of NumPy's if it can be imported, else a memory view. Its contents mean nothing yet.
pub(crate) fn new_array(
    py: Python<'_>,
    items: NewItems,
    shape: Vec<usize>,
) -> PyResult<Bound<'_, PyAny>> {
    static EMPTY: PyOnceLock<Option<Py<PyAny>>> = PyOnceLock::new();
    let len: usize = shape.iter().product();
    let shape = PyTuple::new(py, shape)?;
    let empty = EMPTY.get_or_init(py, || {
        let numpy = py.import("numpy").ok()?;
        Some(numpy.getattr("empty").ok()?.unbind())
    });
    if let Some(empty) = empty {
        return empty.bind(py).call1((shape, items.numpy));
    }
    let bytes = PyByteArray::new_with(py, len * items.bytes, |_| Ok(()))?;
    let view = PyMemoryView::from(&bytes)?;
    let cast = intern!(py, "cast");
    if len == 0 {
        // A view of nothing has no other shape.
        return view.call_method1(cast, (items.format,));
    }
    view.call_method1(cast, (items.format, shape))
}
