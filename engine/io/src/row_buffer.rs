//! A buffer of rows that several threads fill at once, each its own part.

use std::sync::atomic::{AtomicU8, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use crate::IoError;

/// Memory that a [`RowBuffer`] may lie in, such as pinned memory that a GPU reads.
///
/// # Safety
/// Until it is dropped, [`Self::address`] and [`Self::len`] return the same values; the bytes there are initialised,
/// any thread may read and write them, and no safe code does so except through the buffer.
pub unsafe trait BufferMemory: Send + Sync {
    /// Its first byte.
    fn address(&self) -> *mut u8;

    /// Its size in bytes.
    fn len(&self) -> usize;

    /// Whether its size is 0.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Zeroed memory of this process.
struct Anonymous(MmapRaw);

// SAFETY: an anonymous mapping is zeroed and stays where it is, and `MmapRaw` lends no references to it.
unsafe impl BufferMemory for Anonymous {
    fn address(&self) -> *mut u8 {
        self.0.as_mut_ptr()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// The claims of a row's parts are bits 0 and 1; that they are finished, the bits from this one on.
const FINISHED: usize = 4;

/// Rows one after another at a fixed address. Each has one or two parts, which are filled once, by any threads.
pub struct RowBuffer {
    memory: Box<dyn BufferMemory>,
    /// Bytes of each part of a row.
    parts: [usize; 2],
    rows: usize,
    /// For each row, a bit for each part that has been filled or is being filled.
    claims: Vec<AtomicU8>,
}

impl RowBuffer {
    /// A buffer of `capacity` bytes at a page-aligned address. It has no rows until [`Self::reset`].
    ///
    /// # Errors
    /// No memory.
    pub fn new(capacity: usize) -> Result<Self, IoError> {
        let memory = MmapOptions::new().len(capacity.max(1)).map_anon();
        let memory = memory.map_err(IoError::no_memory(capacity, "rows"))?;
        Ok(Self::of(Box::new(Anonymous(memory.into()))))
    }

    /// A buffer that lies in `memory`. It has no rows until [`Self::reset`].
    pub fn of(memory: Box<dyn BufferMemory>) -> Self {
        Self {
            memory,
            parts: [0; 2],
            rows: 0,
            claims: Vec::new(),
        }
    }

    /// Bytes that all rows together may have.
    pub fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// Makes room for `rows` rows, none of them filled. `parts` are the bytes of the two parts of a row, of which the
    /// second may be 0. The contents of the memory do not change.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn reset(&mut self, rows: usize, parts: [usize; 2]) {
        self.reshape(rows, parts);
        self.claims.resize_with(rows, || AtomicU8::new(0));
    }

    /// As [`Self::reset`], in no time, but no row can be filled until [`Self::reset`].
    ///
    /// # Panics
    /// If they do not fit.
    pub fn reshape(&mut self, rows: usize, parts: [usize; 2]) {
        let bytes = parts[0].checked_add(parts[1]);
        let bytes = bytes.and_then(|row| row.checked_mul(rows));
        assert!(
            bytes.is_some_and(|bytes| bytes <= self.capacity()),
            "{rows} rows of {parts:?} bytes do not fit"
        );
        (self.rows, self.parts) = (rows, parts);
        self.claims.clear();
    }

    /// Number of rows, filled or not.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.parts[0] + self.parts[1]
    }

    /// Lets `write` fill one part of a row.
    ///
    /// # Panics
    /// If there is no such part, or it has been filled since the last [`Self::reset`].
    #[inline]
    pub fn fill<R>(&self, row: usize, part: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        let bit = 1 << part;
        let range = [0..self.parts[0], self.parts[0]..self.row_bytes()][part].clone();
        self.claim(row, bit, range, write)
    }

    /// Lets `write` fill a whole row.
    ///
    /// # Panics
    /// If there is no such row, or a part of it has been filled since the last [`Self::reset`].
    #[inline]
    pub fn fill_row<R>(&self, row: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        self.claim(row, 0b11, 0..self.row_bytes(), write)
    }

    /// Lets `write` fill one part of a row, and gives the whole row to whoever fills its last part. A row of
    /// one part has just that.
    ///
    /// # Panics
    /// As [`Self::fill`], and for the second part of rows that have one.
    pub fn fill_and_finish(
        &self,
        row: usize,
        part: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> Option<&[u8]> {
        assert!(part == 0 || self.parts[1] > 0, "a row has one part");
        self.fill(row, part, write);
        let all = if self.parts[1] == 0 { 0b01 } else { 0b11 };
        let finished = 1 << (part + FINISHED);
        // Whoever sees both parts finished sees their bytes too.
        let before = self.claims[row].fetch_or(finished, Ordering::AcqRel);
        if (before | finished) >> FINISHED != all {
            return None;
        }
        let start = row * self.row_bytes();
        // SAFETY: the row lies in the memory, as in `claim`. All of its parts are claimed and finished, so
        // nobody writes there until `reset` or `bytes`, which take `&mut self`, end this borrow.
        Some(unsafe {
            std::slice::from_raw_parts(self.memory.address().add(start), self.row_bytes())
        })
    }

    fn claim<R>(
        &self,
        row: usize,
        bits: u8,
        range: std::ops::Range<usize>,
        write: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let claimed = self.claims[row].fetch_or(bits, Ordering::Relaxed);
        assert_eq!(claimed & bits, 0, "a part of row {row} is filled twice");
        let start = row * self.row_bytes() + range.start;
        // SAFETY: `reset` made sure that every row lies in the memory, and indexing `claims` that this
        // is one of them. The claim is ours alone, so no other reference to these bytes exists until
        // `&mut self` proves that all borrows of `self` have ended.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(self.memory.address().add(start), range.len())
        };
        write(bytes)
    }

    /// The bytes of all rows.
    pub fn bytes(&mut self) -> &mut [u8] {
        let bytes = self.rows * self.row_bytes();
        // SAFETY: the rows lie in the memory, and `&mut self` ends all borrows handed out by `claim`.
        unsafe { std::slice::from_raw_parts_mut(self.memory.address(), bytes) }
    }
}

/// A [`RowBuffer`] that is no longer filled, whose bytes can be read through a shared reference.
#[derive(Debug)]
pub struct FilledRows(RowBuffer);

impl FilledRows {
    /// The bytes of all rows, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.bytes()
    }
}

impl From<RowBuffer> for FilledRows {
    fn from(buffer: RowBuffer) -> Self {
        Self(buffer)
    }
}

impl From<FilledRows> for RowBuffer {
    fn from(filled: FilledRows) -> Self {
        filled.0
    }
}

impl std::ops::Deref for FilledRows {
    type Target = [u8];

    /// The bytes of all rows.
    fn deref(&self) -> &[u8] {
        // SAFETY: the rows lie in the memory; `self` owns the buffer, so all borrows handed out by
        // `claim` have ended, and nothing here fills it.
        unsafe {
            std::slice::from_raw_parts(self.0.memory.address(), self.0.rows * self.0.row_bytes())
        }
    }
}

impl std::fmt::Debug for RowBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowBuffer")
            .field("rows", &self.rows)
            .field("parts", &self.parts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn threads_fill_their_own_parts() {
        let mut buffer = RowBuffer::new(100 * 10).unwrap();
        for round in 0..3 {
            buffer.reset(100, [6, 4]);
            std::thread::scope(|scope| {
                for part in 0..2 {
                    let buffer = &buffer;
                    scope.spawn(move || {
                        for row in 0..100 {
                            let value = u8::try_from(row).unwrap() ^ (round + 1) << part;
                            buffer.fill(row, part, |bytes| bytes.fill(value));
                        }
                    });
                }
            });
            for (row, bytes) in buffer.bytes().chunks_exact(10).enumerate() {
                let row = u8::try_from(row).unwrap();
                assert_eq!(bytes[..6], [row ^ (round + 1); 6]);
                assert_eq!(bytes[6..], [row ^ (round + 1) << 1; 4]);
            }
        }
    }

    #[test]
    fn who_fills_the_last_part_has_the_row() {
        let mut buffer = RowBuffer::new(100 * 10).unwrap();
        for round in 0..20 {
            buffer.reset(100, [6, 4]);
            let finished = std::sync::atomic::AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for part in 0..2 {
                    let (buffer, finished) = (&buffer, &finished);
                    scope.spawn(move || {
                        for row in 0..100 {
                            let value = u8::try_from(row).unwrap() ^ round;
                            let whole = buffer.fill_and_finish(row, part, |out| out.fill(value));
                            if let Some(whole) = whole {
                                assert_eq!(whole, [value; 10]);
                                finished.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    });
                }
            });
            assert_eq!(finished.into_inner(), 100);
        }
        buffer.reset(1, [5, 0]);
        assert_eq!(
            buffer.fill_and_finish(0, 0, |out| out.fill(7)),
            Some(&[7; 5][..])
        );
    }

    #[test]
    fn a_filled_buffer_shows_its_rows() {
        let mut buffer = RowBuffer::new(100).unwrap();
        buffer.reset(2, [3, 0]);
        buffer.fill_row(1, |bytes| bytes.copy_from_slice(b"abc"));
        let filled = FilledRows::from(buffer);
        assert_eq!(*filled, *b"\0\0\0abc");
        assert_eq!(RowBuffer::from(filled).rows(), 2);
    }

    #[test]
    fn nothing_is_filled_twice_or_beyond_the_end() {
        let mut buffer = RowBuffer::new(100).unwrap();
        buffer.reset(10, [8, 0]);
        buffer.fill_row(3, |bytes| bytes.fill(1));
        for row in [3, 10] {
            let refused = catch_unwind(AssertUnwindSafe(|| buffer.fill(row, 0, |_| ())));
            assert!(refused.is_err(), "row {row}");
        }
        for (rows, parts) in [(13, [8, 0]), (4, [1 << 62, 0]), (1, [usize::MAX, 1])] {
            assert!(catch_unwind(AssertUnwindSafe(|| buffer.reset(rows, parts))).is_err());
        }
    }
}
