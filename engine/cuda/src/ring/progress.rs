//! Whether the rows of a pass have come.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use engram::Canceller;

use crate::error::DeviceError;

/// Whether the rows of a pass have come. The result is taken once.
#[derive(Debug)]
pub(super) struct Progress {
    canceller: Canceller,
    result: Mutex<Option<Result<(), DeviceError>>>,
    is_finished: Condvar,
}

impl Progress {
    pub(super) fn new(canceller: Canceller) -> Self {
        Self {
            canceller,
            result: Mutex::default(),
            is_finished: Condvar::new(),
        }
    }

    /// Takes back the reads that have not begun: nobody wants the rows.
    pub(super) fn cancel(&self) {
        self.canceller.cancel();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Result<(), DeviceError>>> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn finish(&self, result: Result<(), DeviceError>) {
        *self.lock() = Some(result);
        self.is_finished.notify_all();
    }

    pub(super) fn is_finished(&self) -> bool {
        self.lock().is_some()
    }

    fn wait(&self) -> Result<(), DeviceError> {
        let mut result = self.lock();
        loop {
            if let Some(result) = result.take() {
                return result;
            }
            let woken = self.is_finished.wait(result);
            result = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Tells whether the rows of a pass could be had.
#[must_use = "the values of a pass that failed are zeros"]
pub struct Outcome(Arc<Progress>);

impl Outcome {
    pub(super) fn new(progress: Arc<Progress>) -> Self {
        Self(progress)
    }

    /// Waits until all rows have come from the store. The device goes on by itself.
    ///
    /// # Errors
    /// Rows that could not be read or are damaged, or a thread of the ring that has panicked. The values of the pass
    /// are all zero then.
    pub fn wait(self) -> Result<(), DeviceError> {
        self.0.wait()
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").finish_non_exhaustive()
    }
}
