//! What hashing gives.

use std::slice;

use engram::{LayerId, LookupError, RowId};
use pyo3::{Bound, PyAny, PyResult, Python, pyclass, pymethods};

use crate::{
    errors::engine_error,
    memory::Memory,
    new_array::{NewItems, new_array},
};

/// Which rows some positions read: for each layer `[positions][columns]`. `rows[layer]` is an int64 array of them.
#[pyclass(frozen, module = "engram_tables")]
pub(crate) struct RowIds {
    pub(crate) ids: engram::RowIds,
}

#[pymethods]
impl RowIds {
    /// Positions that were hashed.
    #[getter]
    fn positions(&self) -> usize {
        self.ids.positions()
    }

    /// Rows of each position in a layer.
    #[getter]
    fn columns(&self) -> usize {
        self.ids.columns()
    }

    /// The model's ids of the layers that have a table.
    #[getter]
    fn layers(&self) -> Vec<u32> {
        self.ids.batches().map(|batch| batch.layer().0).collect()
    }

    /// The row ids of the layer with this id, as int64 `[positions][columns]`.
    fn __getitem__<'py>(&self, py: Python<'py>, layer: u32) -> PyResult<Bound<'py, PyAny>> {
        let batch = self.ids.batch(LayerId(layer));
        let batch = batch.ok_or_else(|| {
            engine_error(LookupError::UnknownLayer {
                layer: LayerId(layer),
                layers: self.ids.batches().map(|batch| batch.layer()).collect(),
            })
        })?;
        let row_ids = batch.row_ids();
        let shape = vec![self.ids.positions(), self.ids.columns()];
        let array = new_array(py, NewItems::new("int64", "q", 8), shape)?;
        let memory = Memory::of(&array, "array")?;
        assert!(memory.len() == row_ids.len() && memory.start.cast::<RowId>().is_aligned());
        // SAFETY: the array is new, ours alone, and has a number of 64 bits for each row id.
        let out = unsafe { slice::from_raw_parts_mut(memory.start.cast::<RowId>(), memory.len()) };
        out.copy_from_slice(row_ids);
        Ok(array)
    }

    fn __repr__(&self) -> String {
        format!(
            "RowIds(layers={:?}, positions={}, columns={})",
            self.layers(),
            self.ids.positions(),
            self.ids.columns()
        )
    }
}
