//! Memory for rows, and where it returns to.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, Mutex},
    time::Duration,
};

use engram_format::{bf16, f16};
use engram_io::{FilledRows, IoError, RowBuffer, lock};

use crate::{gather::GatherPool, output::ValueType, owner::Owner, priority::Priority};

/// Where memory for rows comes from and returns to: a store's pool, or a caller's own, for example one
/// whose memory a device can read.
pub trait BufferPool: fmt::Debug + Send + Sync {
    /// Takes memory back that nothing fills any more. Called once for each [`Buffer`], by whichever thread
    /// lets go of it last, the store's threads included: it must not block.
    fn recycle(&self, rows: RowBuffer);
}

/// Rows at a fixed address (page-aligned in a store's own buffers), `[token][column][row bytes]` or
/// `[token][column][value]`, which return to their pool when dropped.
pub struct Buffer {
    rows: Option<FilledRows>,
    pool: Arc<dyn BufferPool>,
    value_type: Option<ValueType>,
    took: Option<Duration>,
}

impl Buffer {
    /// A buffer of the caller's, to be filled by [`Store::submit`](crate::Store::submit): as long as the rows
    /// that `rows` was last reset to.
    pub fn new(rows: RowBuffer, pool: Arc<dyn BufferPool>) -> Self {
        Self {
            rows: Some(rows.into()),
            pool,
            value_type: None,
            took: None,
        }
    }

    /// Makes it a buffer for values: rows are decoded to `value_type` as they come.
    #[must_use]
    pub fn of_values(mut self, value_type: ValueType) -> Self {
        self.value_type = Some(value_type);
        self
    }

    /// What its rows are decoded to; none for a buffer of bytes.
    pub fn value_type(&self) -> Option<ValueType> {
        self.value_type
    }

    /// From the submission of the ticket that filled it until its last row was there; none before that.
    pub fn took(&self) -> Option<Duration> {
        self.took
    }

    /// The rows as `f32`.
    ///
    /// # Panics
    /// If the buffer is not [of](Self::value_type) such values, or has not been filled.
    pub fn as_f32(&self) -> &[f32] {
        assert_eq!(self.value_type, Some(ValueType::F32), "a buffer of f32");
        bytemuck::cast_slice(self)
    }

    /// The rows as IEEE binary16.
    ///
    /// # Panics
    /// As [`Self::as_f32`].
    pub fn as_f16(&self) -> &[f16] {
        assert_eq!(self.value_type, Some(ValueType::F16), "a buffer of f16");
        bytemuck::cast_slice(self)
    }

    /// The rows as bfloat16.
    ///
    /// # Panics
    /// As [`Self::as_f32`].
    pub fn as_bf16(&self) -> &[bf16] {
        assert_eq!(self.value_type, Some(ValueType::Bf16), "a buffer of bf16");
        bytemuck::cast_slice(self)
    }

    /// Makes room for `rows` rows of two parts of these sizes, none of them filled.
    pub(crate) fn reset(&mut self, rows: usize, parts: [usize; 2]) {
        let mut buffer = RowBuffer::from(self.rows.take().expect("held until dropped"));
        buffer.reset(rows, parts);
        self.rows = Some(buffer.into());
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.rows.as_mut().expect("held until dropped").bytes_mut()
    }

    pub(crate) fn set_took(&mut self, took: Duration) {
        self.took = Some(took);
    }

    pub(crate) fn into_parts(mut self) -> (RowBuffer, Arc<dyn BufferPool>) {
        let rows = self.rows.take().expect("held until dropped");
        (rows.into(), self.pool.clone())
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.rows.as_ref().expect("held until dropped")
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(rows) = self.rows.take() {
            self.pool.recycle(rows.into());
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("bytes", &self.len())
            .finish_non_exhaustive()
    }
}

/// Buffers kept at most, so that finding one is cheap.
const MAX_BUFFERS: usize = 256;
/// Bytes of a buffer that its last holder gives back to the system itself: that takes some 100 microseconds.
const FREED_AT_ONCE: usize = 1 << 20;
/// The least memory that a buffer takes.
const PAGE_BYTES: usize = 4096;

/// Buffers of a store that are not in use.
#[derive(Debug)]
pub(crate) struct Buffers {
    unused: Mutex<Unused>,
    /// Bytes that unused buffers have together at most.
    max_bytes: usize,
    /// Who frees large buffers.
    gather: Arc<GatherPool>,
    owner: Owner,
}

#[derive(Debug, Default)]
struct Unused {
    buffers: Vec<RowBuffer>,
    bytes: usize,
}

impl Buffers {
    pub(crate) fn new(owner: Owner, max_bytes: usize, gather: Arc<GatherPool>) -> Self {
        Self {
            unused: Mutex::default(),
            max_bytes,
            gather,
            owner,
        }
    }

    /// A buffer for `rows` rows of two parts of these sizes, to be filled.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn take(&self, rows: usize, parts: [usize; 2]) -> Result<RowBuffer, IoError> {
        let mut buffer = self.take_shaped(rows, parts)?;
        buffer.reset(rows, parts);
        Ok(buffer)
    }

    /// As [`Self::take`], to be filled after a [`RowBuffer::reset`], which takes a while where it is large.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn take_shaped(&self, rows: usize, parts: [usize; 2]) -> Result<RowBuffer, IoError> {
        let row_bytes = parts[0] + parts[1];
        let bytes = rows
            .checked_mul(row_bytes)
            .ok_or_else(|| IoError::NoMemory {
                bytes: usize::MAX,
                purpose: "rows",
                cause: std::io::ErrorKind::OutOfMemory.into(),
            })?;
        let mut buffer = if let Some(buffer) = self.take_fitting(bytes) {
            buffer
        } else {
            // Rounded up, so that batches of about the same size can share it.
            let rounded = bytes.checked_next_power_of_two().unwrap_or(bytes);
            RowBuffer::new(rounded.max(PAGE_BYTES))?
        };
        buffer.reshape(rows, parts);
        Ok(buffer)
    }

    /// The smallest that fits: a decode step should not hold the buffer of a prompt.
    fn take_fitting(&self, bytes: usize) -> Option<RowBuffer> {
        if !self.owner.is_current() {
            return None;
        }
        let mut unused = lock(&self.unused);
        let (index, _) = (unused.buffers.iter().enumerate())
            .filter(|(_, buffer)| buffer.capacity() >= bytes)
            .min_by_key(|(_, buffer)| buffer.capacity())?;
        let buffer = unused.buffers.swap_remove(index);
        unused.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Bytes of the buffers that are not in use; 0 in a process that was forked from the store's.
    pub(crate) fn unused_bytes(&self) -> u64 {
        if !self.owner.is_current() {
            return 0;
        }
        lock(&self.unused).bytes as u64
    }
}

impl BufferPool for Buffers {
    fn recycle(&self, rows: RowBuffer) {
        if !self.owner.is_current() {
            return;
        }
        let mut unused = lock(&self.unused);
        let fits = unused.bytes + rows.capacity() <= self.max_bytes;
        if fits && unused.buffers.len() < MAX_BUFFERS {
            unused.bytes += rows.capacity();
            unused.buffers.push(rows);
            return;
        }
        drop(unused);
        if rows.capacity() > FREED_AT_ONCE {
            self.gather.spawn(Priority::Prefill, move || drop(rows));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_buffers_stay_below_the_limit() {
        let owner = Owner::current(false);
        let gather = Arc::new(GatherPool::new(Some(0)));
        let pool = Buffers::new(owner, 40_000, gather.clone());
        let buffers: Vec<_> = (0..20).map(|_| pool.take(8, [100, 28]).unwrap()).collect();
        let large = pool.take(1_000, [100, 0]).unwrap();
        assert_eq!(pool.unused_bytes(), 0);
        buffers.into_iter().for_each(|buffer| pool.recycle(buffer));
        pool.recycle(large);
        // Nine of a page; neither the tenth nor the large one fits.
        assert_eq!(pool.unused_bytes(), 9 * 4_096);
        let again = pool.take(1, [1_000, 0]).unwrap();
        assert_eq!((again.capacity(), pool.unused_bytes()), (4_096, 8 * 4_096));
        assert!(pool.take(usize::MAX / 2, [100, 0]).is_err());
        let many = Buffers::new(owner, usize::MAX, gather);
        let buffers: Vec<_> = (0..300).map(|_| many.take(1, [8, 0]).unwrap()).collect();
        buffers.into_iter().for_each(|buffer| many.recycle(buffer));
        assert_eq!(many.unused_bytes(), 256 * 4_096);
    }
}
