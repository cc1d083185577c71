//! The process that a store belongs to.

use engram_io::Process;

use crate::error::LookupError;

/// The process that opened a store, and whether the store needs threads that a process forked from it does not have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    process: Process,
    needs_threads: bool,
}

impl Owner {
    /// The process that calls.
    pub(crate) fn current(needs_threads: bool) -> Self {
        Self {
            process: Process::current(),
            needs_threads,
        }
    }

    /// Whether the process that calls opened the store. Else no lock of the store may be taken: a thread that is not
    /// here may have held it while the process was forked.
    #[inline]
    pub(crate) fn is_current(&self) -> bool {
        self.process.is_current()
    }

    /// Checks that rows can be asked for in the process that calls.
    ///
    /// # Errors
    /// A store that needs its threads, in a process that was forked from the one that opened it.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), LookupError> {
        if self.needs_threads && !self.is_current() {
            return Err(self.forked());
        }
        Ok(())
    }

    /// Checks that work which has begun is still being done.
    ///
    /// # Errors
    /// A process that was forked from the one whose threads do it.
    pub(crate) fn check_work(&self) -> Result<(), LookupError> {
        if self.is_current() {
            Ok(())
        } else {
            Err(self.forked())
        }
    }

    #[cold]
    fn forked(&self) -> LookupError {
        LookupError::Forked {
            opened: self.process.id(),
            found: std::process::id(),
        }
    }
}
