//! Memory that batches hand on to later ones.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engram_io::{IoError, RowBuffer};

use super::Fetch;
use crate::ticket::BufferHome;

/// Buffers and fetches kept at most; beyond that they are freed.
const KEPT: usize = 64;

/// Buffers and fetches that are not in use.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    buffers: Mutex<Vec<RowBuffer>>,
    fetches: Mutex<Vec<Arc<Fetch>>>,
}

impl Pool {
    /// A buffer for `rows` rows of two parts of these sizes.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn buffer(&self, rows: usize, parts: [usize; 2]) -> Result<RowBuffer, IoError> {
        let bytes = rows * (parts[0] + parts[1]);
        let mut buffers = lock(&self.buffers);
        // The smallest that fits: a decode step should not hold the buffer of a prompt.
        let fitting = (buffers.iter().enumerate())
            .filter(|(_, buffer)| buffer.capacity() >= bytes)
            .min_by_key(|(_, buffer)| buffer.capacity())
            .map(|(index, _)| index);
        let found = fitting.map(|index| buffers.swap_remove(index));
        drop(buffers);
        let mut buffer = match found {
            Some(buffer) => buffer,
            None => RowBuffer::new(bytes.next_power_of_two())?,
        };
        buffer.reset(rows, parts);
        Ok(buffer)
    }

    /// A fetch that nobody else has, without rows.
    pub(crate) fn fetch(self: &Arc<Self>) -> Arc<Fetch> {
        let mut fetch = lock(&self.fetches).pop().unwrap_or_default();
        let mine = Arc::get_mut(&mut fetch).expect("only unused fetches are in the pool");
        mine.home = Some(self.clone());
        fetch
    }

    /// Takes a fetch back that nobody else has.
    pub(crate) fn put_fetch(&self, mut fetch: Arc<Fetch>) {
        if let Some(mine) = Arc::get_mut(&mut fetch) {
            mine.clear();
            let mut fetches = lock(&self.fetches);
            if fetches.len() < KEPT {
                fetches.push(fetch);
            }
        }
    }
}

impl BufferHome for Pool {
    fn take_back(&self, rows: RowBuffer) {
        let mut buffers = lock(&self.buffers);
        if buffers.len() < KEPT {
            buffers.push(rows);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
