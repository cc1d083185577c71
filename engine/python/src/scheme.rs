//! Facts about a pack that never change while it is open.

use engram::{LayerId, LookupError, Store};
use pyo3::{Py, PyResult, Python, pyclass, pymethods};

use crate::errors::engine_error;

/// A layer that has a table: its `id` in the model, how rows are stored (`codec`), values of a row (`width`), bytes of
/// a stored row (`row_bytes`), of its values and of its scales, rows of all columns together, and the `columns`.
#[pyclass(frozen, get_all, module = "engram_tables")]
pub(crate) struct Layer {
    id: u32,
    codec: &'static str,
    width: usize,
    row_bytes: usize,
    value_bytes: usize,
    scale_bytes: usize,
    row_count: u64,
    columns: Vec<Py<Column>>,
}

impl Layer {
    pub(crate) fn id(&self) -> u32 {
        self.id
    }
}

#[pymethods]
impl Layer {
    fn __repr__(&self) -> String {
        format!(
            "Layer(id={}, codec={:?}, width={}, row_bytes={}, row_count={}, columns={})",
            self.id,
            self.codec,
            self.width,
            self.row_bytes,
            self.row_count,
            self.columns.len()
        )
    }
}

/// A column of a layer: tokens of its n-grams (`order`), which hash of them it has (`head`), and the rows that it has
/// (`row_count` from `first_row` on).
#[pyclass(frozen, get_all, module = "engram_tables")]
pub(crate) struct Column {
    order: u32,
    head: u32,
    first_row: u64,
    row_count: u64,
}

#[pymethods]
impl Column {
    fn __repr__(&self) -> String {
        format!(
            "Column(order={}, head={}, first_row={}, row_count={})",
            self.order, self.head, self.first_row, self.row_count
        )
    }
}

/// The layers of `store` that have a table.
pub(crate) fn layers(py: Python<'_>, store: &Store) -> PyResult<Vec<Layer>> {
    let layers = store.scheme().layers.iter();
    layers.map(|layer| of_layer(py, store, layer.id)).collect()
}

fn of_layer(py: Python<'_>, store: &Store, id: LayerId) -> PyResult<Layer> {
    let facts = || Ok::<_, LookupError>((store.codec(id)?, store.columns(id)?));
    let (codec, columns) = facts().map_err(engine_error)?;
    let [value_bytes, scale_bytes] = codec.plane_bytes();
    let made = columns.iter().map(|column| {
        Py::new(
            py,
            Column {
                order: column.order,
                head: column.head,
                first_row: column.first_row,
                row_count: column.row_count,
            },
        )
    });
    Ok(Layer {
        id: id.0,
        codec: codec.name(),
        width: codec.width(),
        row_bytes: codec.row_bytes(),
        value_bytes,
        scale_bytes,
        row_count: columns.iter().map(|column| column.row_count).sum(),
        columns: made.collect::<PyResult<_>>()?,
    })
}
