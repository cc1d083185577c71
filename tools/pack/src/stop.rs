//! Ending a long piece of work before it is done.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Result, ensure};

/// Lets any thread end a piece of work that it was given to, soon and with an error. Clones are of the same work.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends the work.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Checks that the work goes on.
    ///
    /// # Errors
    /// It was ended.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(!self.is_stopped(), "stopped by the caller");
        Ok(())
    }
}
