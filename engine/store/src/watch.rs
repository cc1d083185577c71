//! The files of a checkpoint behind an attached pack, which has no seals that would tell that they have changed.

use std::sync::{Arc, OnceLock};

use engram_format::LayerId;
use engram_io::{FileChange, IoError, WatchedFile};

use crate::error::LookupError;

/// Watches the files behind one table. Once one of them has changed, no row of the table is to be trusted.
#[derive(Debug)]
pub(crate) struct Watch {
    layer: LayerId,
    /// In the order of [`Extent::file`](engram_format::Extent::file).
    files: Arc<[WatchedFile]>,
    change: OnceLock<FileChange>,
}

impl Watch {
    pub(crate) fn new(layer: LayerId, files: Arc<[WatchedFile]>) -> Self {
        Self {
            layer,
            files,
            change: OnceLock::new(),
        }
    }

    /// Checks that the file `file` is what it was when the pack was opened. Bytes that were read before are right then.
    ///
    /// # Errors
    /// A file that has changed, or a system that does not tell.
    pub(crate) fn check_file(&self, file: u32) -> Result<(), LookupError> {
        match self.files[file as usize].check() {
            Ok(()) => Ok(()),
            Err(IoError::Changed(change)) => {
                let _ = self.change.set(change);
                self.check_seen()
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Checks that no file has been found changed so far.
    ///
    /// # Errors
    /// The first that was.
    #[inline]
    pub(crate) fn check_seen(&self) -> Result<(), LookupError> {
        match self.change.get() {
            None => Ok(()),
            Some(change) => Err(LookupError::SourceChanged {
                layer: self.layer,
                change: change.clone(),
            }),
        }
    }
}
