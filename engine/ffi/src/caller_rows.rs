//! Memory of the caller's that rows are put into.

use std::{ffi::c_void, ptr, slice};

use engram::LookupError;

use crate::{error_kind::ErrorKind, failure::Failure};

/// Rows at a fixed distance from one another. What lies between them is not touched.
#[derive(Debug)]
pub(crate) struct CallerRows {
    start: *mut u8,
    rows: usize,
    row_bytes: usize,
    stride: usize,
}

/// What a caller says about memory for rows.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    start: *mut c_void,
    bytes: usize,
    /// Bytes from the start of a row to that of the next; 0 where they touch.
    stride: usize,
}

impl Memory {
    /// `bytes` bytes from `start` on, with `stride` bytes from the start of a row to that of the next, or 0 where they
    /// touch.
    pub fn new(start: *mut c_void, bytes: usize, stride: usize) -> Self {
        Self {
            start,
            bytes,
            stride,
        }
    }
}

// SAFETY: whoever calls `new` promises that nobody else uses the memory, so it is as good as owned.
unsafe impl Send for CallerRows {}

impl CallerRows {
    /// Memory for `rows` rows of `row_bytes` bytes, in values of `value_bytes` bytes.
    ///
    /// # Errors
    /// Memory that is too small or not aligned, a stride shorter than a row, or NULL.
    ///
    /// # Safety
    /// As long as the value lives, the `memory.bytes` bytes at `memory.start` may be written, and nobody else uses
    /// them.
    pub(crate) unsafe fn new(
        memory: Memory,
        rows: usize,
        row_bytes: usize,
        value_bytes: usize,
    ) -> Result<Self, Failure> {
        let stride = if memory.stride == 0 {
            row_bytes
        } else {
            memory.stride
        };
        if rows == 0 || row_bytes == 0 {
            // Aligned for every value, so that no rows can be any values.
            let start = ptr::dangling_mut::<u64>().cast();
            return Ok(Self {
                start,
                rows: 0,
                row_bytes,
                stride,
            });
        }
        if memory.start.is_null() {
            return Err(Failure::new(
                ErrorKind::NullArgument,
                "the memory for rows is NULL",
            ));
        }
        if stride < row_bytes {
            return Err(Failure::new(
                ErrorKind::BadArgument,
                format!(
                    "the row stride is {stride} bytes, expected 0 or at least the {row_bytes} bytes of a row"
                ),
            ));
        }
        let start = memory.start.cast::<u8>();
        // A stride that is not a multiple misaligns the second row.
        let misaligned = [start.addr(), start.addr().wrapping_add(stride)];
        let misaligned = misaligned
            .into_iter()
            .find(|address| !address.is_multiple_of(value_bytes));
        if let Some(address) = misaligned {
            return Err(LookupError::Misaligned {
                address,
                value_bytes,
            }
            .into());
        }
        let needed = stride.checked_mul(rows - 1);
        let needed = needed.and_then(|before| before.checked_add(row_bytes));
        if needed.is_none_or(|needed| needed > memory.bytes.min(isize::MAX.cast_unsigned())) {
            return Err(LookupError::OutputSize {
                rows,
                row_bytes: stride,
                expected: needed.unwrap_or(usize::MAX),
                found: memory.bytes,
            }
            .into());
        }
        Ok(Self {
            start,
            rows,
            row_bytes,
            stride,
        })
    }

    /// Bytes of a row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Its first byte.
    pub(crate) fn start(&self) -> *mut u8 {
        self.start
    }

    /// The rows as one piece, unless there is something between them.
    pub(crate) fn contiguous(&mut self) -> Option<&mut [u8]> {
        // One row has nothing behind it that would matter.
        if self.stride > self.row_bytes && self.rows > 1 {
            return None;
        }
        // SAFETY: `new` checked the size, and its caller promised that nobody else uses the memory. It came from
        // another language, so whatever is in it are bytes.
        Some(unsafe { slice::from_raw_parts_mut(self.start, self.rows * self.row_bytes) })
    }

    /// The memory of one row.
    ///
    /// # Panics
    /// If there is no such row.
    pub(crate) fn row(&mut self, index: usize) -> &mut [u8] {
        assert!(index < self.rows, "row {index} of {}", self.rows);
        // SAFETY: as in `contiguous`, and the row is one of those whose end lies in the memory.
        unsafe { slice::from_raw_parts_mut(self.start.add(index * self.stride), self.row_bytes) }
    }

    /// Fills all rows with zeros.
    pub(crate) fn zero(&mut self) {
        match self.contiguous() {
            Some(bytes) => bytes.fill(0),
            None => (0..self.rows).for_each(|row| self.row(row).fill(0)),
        }
    }

    /// Moves the first rows to `places`, which are in ascending order, and fills the others with zeros.
    ///
    /// # Panics
    /// If the rows are not one piece.
    pub(crate) fn spread(&mut self, places: &[u32]) {
        let (rows, row_bytes) = (self.rows, self.row_bytes);
        let bytes = self.contiguous().expect("rows that come together");
        let mut left = places.len();
        // From the end, so that no row is overwritten before it has been moved.
        for to in (0..rows).rev() {
            if left > 0 && places[left - 1] as usize == to {
                left -= 1;
                let from = left * row_bytes;
                bytes.copy_within(from..from + row_bytes, to * row_bytes);
            } else {
                bytes[to * row_bytes..][..row_bytes].fill(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(
        memory: &mut [u32],
        rows: usize,
        row_bytes: usize,
        stride: usize,
    ) -> Result<CallerRows, Failure> {
        let memory = Memory {
            start: memory.as_mut_ptr().cast(),
            bytes: size_of_val(memory),
            stride,
        };
        // SAFETY: the tests do not use the memory while the rows do.
        unsafe { CallerRows::new(memory, rows, row_bytes, 4) }
    }

    #[test]
    fn rows_spread_from_the_front() {
        for places in [
            &[0, 1, 2, 3, 4][..],
            &[1, 3],
            &[4],
            &[0, 4],
            &[2, 3, 4],
            &[],
        ] {
            let mut memory = [9_u32; 10];
            let mut expected = [0; 10];
            for (row, &place) in (1..).zip(places) {
                memory[2 * (row as usize - 1)..][..2].fill(row);
                expected[2 * place as usize..][..2].fill(row);
            }
            rows_of(&mut memory, 5, 8, 0).unwrap().spread(places);
            assert_eq!(memory, expected, "{places:?}");
        }
    }

    #[test]
    fn what_lies_between_rows_is_not_touched() {
        let mut memory = [9_u32; 7];
        let mut rows = rows_of(&mut memory, 3, 4, 12).unwrap();
        assert!(rows.contiguous().is_none());
        rows.zero();
        rows.row(1).fill(1);
        assert_eq!(memory, [0, 9, 9, 0x0101_0101, 9, 9, 0]);
    }

    #[test]
    fn memory_that_will_not_do_is_refused() {
        let mut memory = [0_u32; 7];
        let mut refused = |rows, row_bytes, stride| {
            rows_of(&mut memory, rows, row_bytes, stride)
                .unwrap_err()
                .kind
        };
        assert_eq!(refused(4, 4, 12), ErrorKind::OutputSize);
        assert_eq!(refused(8, 4, 0), ErrorKind::OutputSize);
        assert_eq!(refused(usize::MAX, 4, 0), ErrorKind::OutputSize);
        assert_eq!(refused(2, 8, 4), ErrorKind::BadArgument);
        assert_eq!(refused(2, 4, 6), ErrorKind::Misaligned);
        assert!(rows_of(&mut memory, 2, 4, 24).is_ok());
        assert!(rows_of(&mut [], 0, 4, 0).is_ok());
    }
}
