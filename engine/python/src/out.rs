//! Where the rows of a call go.

use engram::RowCodec;
use engram_ffi::{SparseBatch, Target};
use pyo3::{Bound, Py, PyAny, PyResult, Python};

use crate::{
    dtype::Dtype,
    errors::{bad_argument, raise},
    memory::Memory,
    new_array::new_array,
};

/// An array of the caller's or a new one, and how rows lie in it.
pub(crate) struct Out {
    pub(crate) dtype: Dtype,
    /// What the caller gets.
    pub(crate) array: Py<PyAny>,
    memory: Memory,
    /// Bytes from a row to the next; 0 where they touch.
    stride: usize,
}

impl Out {
    /// Memory for rows of `codec` in an array of shape `places` and a row: `out`, or a new array.
    ///
    /// # Errors
    /// An `out` of another shape, of items that rows are not, that may not be written, or whose rows are scattered.
    pub(crate) fn new(
        py: Python<'_>,
        out: Option<&Bound<'_, PyAny>>,
        dtype: Option<&Bound<'_, PyAny>>,
        codec: RowCodec,
        places: &[usize],
    ) -> PyResult<Self> {
        let dtype = dtype.map(Dtype::of).transpose()?;
        let Some(out) = out else {
            let dtype = dtype.unwrap_or(Dtype::Values(engram::ValueType::F32));
            let items = dtype.new_items();
            let row_items = dtype.row_bytes(codec) / items.bytes;
            let shape = places.iter().copied().chain([row_items]).collect();
            let array = new_array(py, items, shape)?;
            return Ok(Self {
                dtype,
                memory: Memory::of(&array, "out")?,
                array: array.unbind(),
                stride: 0,
            });
        };
        let memory = Memory::of(out, "out")?;
        let dtype = match dtype {
            None => Dtype::of_item(memory.item)?,
            Some(dtype) => {
                dtype.check(memory.item)?;
                dtype
            }
        };
        let stride = check(&memory, dtype.row_bytes(codec), places)?;
        Ok(Self {
            dtype,
            array: out.clone().unbind(),
            memory,
            stride,
        })
    }

    /// The same as a place for the rows of `batch`.
    ///
    /// # Errors
    /// Memory that is not aligned for its values.
    ///
    /// # Safety
    /// This outlives what is returned, which alone uses the memory. Of Python's code that is asked for in the
    /// docstrings; what it writes there meanwhile can be mistaken for rows, and does no other harm.
    pub(crate) unsafe fn target(&self, batch: &SparseBatch, codec: RowCodec) -> PyResult<Target> {
        let bytes = match self.stride {
            0 => self.memory.len() * self.memory.item.bytes,
            stride => stride * (batch.len() - 1) + self.dtype.row_bytes(codec),
        };
        let memory = engram_ffi::Memory::new(self.memory.start, bytes, self.stride);
        // SAFETY: the caller's promise. The lender keeps the memory there as long as this lives.
        let target = unsafe { Target::whole(batch, codec, self.dtype.value_type(), memory) };
        target.map_err(raise)
    }
}

/// Checks that `memory` has the shape `places` and a row, or is flat and just as long. Returns the stride of rows.
fn check(memory: &Memory, row_bytes: usize, places: &[usize]) -> PyResult<usize> {
    if memory.is_read_only {
        return Err(bad_argument("`out` is read-only"));
    }
    let rows: usize = places.iter().product();
    let row_items = row_bytes / memory.item.bytes;
    let is_rows = memory
        .shape
        .split_last()
        .is_some_and(|(&last, outer)| last == row_items && (outer == places || outer == [rows]));
    let is_flat = memory.shape[..] == [rows * row_items];
    if !is_rows && !is_flat {
        let expected: Vec<usize> = places.iter().copied().chain([row_items]).collect();
        return Err(bad_argument(format!(
            "`out` has the shape {:?}, expected {expected:?} or {:?} for {rows} rows",
            memory.shape,
            [rows * row_items],
        )));
    }
    let stride = memory.row_stride();
    stride.filter(|&stride| stride == 0 || is_rows).ok_or_else(|| {
        bad_argument(
            "`out` is scattered in memory, expected rows whose values touch one another, at equal distances",
        )
    })
}
