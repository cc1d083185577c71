//! Where the rows of a call go: to one place, or values to one and scales to another.

use engram::{RowCodec, ValueType};

use crate::{
    caller_rows::{CallerRows, Memory},
    failure::Failure,
    sparse_batch::SparseBatch,
    values::{row_bytes, value_bytes},
};

/// Memory of the caller's for all places of a batch.
#[derive(Debug)]
pub struct Target {
    /// The whole rows, or their values.
    rows: CallerRows,
    /// What is behind the values in a stored row, where that goes elsewhere.
    scales: Option<CallerRows>,
}

impl Target {
    /// Memory for the whole rows of `batch`.
    ///
    /// # Errors
    /// Memory that will not do.
    ///
    /// # Safety
    /// As long as the value lives, the memory may be written, and nobody else uses it.
    pub unsafe fn whole(
        batch: &SparseBatch,
        codec: RowCodec,
        value_type: Option<ValueType>,
        memory: Memory,
    ) -> Result<Self, Failure> {
        let row_bytes = row_bytes(codec, value_type);
        // SAFETY: the caller's promise.
        let rows =
            unsafe { CallerRows::new(memory, batch.len(), row_bytes, value_bytes(value_type))? };
        Ok(Self { rows, scales: None })
    }

    /// Memory for the stored values of `batch`, and for their scales.
    ///
    /// # Errors
    /// Memory that will not do.
    ///
    /// # Safety
    /// As [`Self::whole`], for each of the two.
    pub unsafe fn parts(
        batch: &SparseBatch,
        codec: RowCodec,
        values: Memory,
        scales: Memory,
    ) -> Result<Self, Failure> {
        let [values_of_row, scales_of_row] = codec.plane_bytes();
        // SAFETY: the caller's promise.
        let rows = unsafe { CallerRows::new(values, batch.len(), values_of_row, 1)? };
        // SAFETY: the caller's promise.
        let scales = unsafe { CallerRows::new(scales, batch.len(), scales_of_row, 1)? };
        Ok(Self {
            rows,
            scales: Some(scales),
        })
    }

    /// The memory, if the rows of a batch can be read right there, the first ones of it.
    pub(crate) fn direct(&mut self) -> Option<&mut CallerRows> {
        if self.scales.is_some() || self.rows.contiguous().is_none() {
            return None;
        }
        Some(&mut self.rows)
    }

    /// Copies rows, one after another in `found`, to their places in the batch.
    pub(crate) fn put(&mut self, found: &[u8], places: Option<&[u32]>) {
        if places.is_some() {
            self.zero();
        }
        let values = self.rows.row_bytes();
        let scales = self.scales.as_ref().map_or(0, CallerRows::row_bytes);
        for (index, row) in found.chunks_exact(values + scales).enumerate() {
            let place = places.map_or(index, |places| places[index] as usize);
            self.rows.row(place).copy_from_slice(&row[..values]);
            if let Some(out) = self.scales.as_mut().filter(|_| scales > 0) {
                out.row(place).copy_from_slice(&row[values..]);
            }
        }
    }

    /// Fills the places of all rows with zeros.
    pub(crate) fn zero(&mut self) {
        self.rows.zero();
        if let Some(scales) = &mut self.scales {
            scales.zero();
        }
    }
}
