//! The buffer of a ticket, from when it is given until rows are put there.

use crate::{
    backing::Destination,
    buffer_pool::Buffer,
    error::LookupError,
    lookup::Table,
    output::{Output, row_bytes},
    pools::Pools,
};

/// A buffer that was given to be filled. It returns to its pool if that goes wrong.
pub(super) struct SubmitBuffer(pub(super) Buffer);

impl SubmitBuffer {
    /// Its memory, as the place of rows of `table`.
    ///
    /// # Errors
    /// Memory that is not aligned for the buffer's values.
    pub(super) fn output(&mut self, table: &Table) -> Result<Output<'_>, LookupError> {
        let value_type = self.0.value_type();
        let bytes = self.0.bytes_mut();
        if let Some(value_type) = value_type {
            let (address, value_bytes) = (bytes.as_ptr().addr(), value_type.bytes());
            if !address.is_multiple_of(value_bytes) {
                return Err(LookupError::Misaligned {
                    address,
                    value_bytes,
                });
            }
        }
        Ok(Output::new(table.codec, value_type, bytes))
    }

    /// Makes room for `rows` rows of `table`, none of which has come. It must be as long as they are.
    pub(super) fn reset(&mut self, table: &Table, rows: usize) {
        let parts = match self.0.value_type() {
            None => table.parts(),
            values => [row_bytes(table.codec, values), 0],
        };
        self.0.reset(rows, parts);
    }

    /// Where a fetch of `missing` rows puts them.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn into_fetch(
        self,
        table: &Table,
        missing: usize,
        pools: &Pools,
    ) -> Result<Destination, LookupError> {
        let Some(value_type) = self.0.value_type() else {
            let (rows, pool) = self.0.into_parts();
            return Ok(Destination::Bytes(rows, pool));
        };
        // The parts of a row come apart, and can only be decoded together.
        let parts = table.parts();
        let staging = if parts[1] > 0 && missing > 0 {
            Some(pools.buffers.take(missing, parts)?)
        } else {
            None
        };
        let (values, pool) = self.0.into_parts();
        Ok(Destination::Values {
            values,
            pool,
            value_type,
            codec: table.codec,
            staging,
        })
    }
}
