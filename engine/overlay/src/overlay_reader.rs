//! Edits that another process makes.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use engram::read_manifest;
use engram_io::lock;
use tempfile::TempDir;

use crate::{
    database::Database, edited_rows::EditedRows, overlay::load, overlay_error::OverlayError,
    shape::Shape, version::Snapshot,
};

/// The edits of an overlay that another process may be writing. It sees what had been written when it was opened or
/// [refreshed](Self::refresh).
pub struct OverlayReader {
    path: PathBuf,
    database: Mutex<Database>,
    rows: Arc<EditedRows>,
    /// What RocksDB writes for a reader, its log.
    _own: TempDir,
}

impl OverlayReader {
    /// Opens the overlay in the folder `path` of the pack in the folder `pack`.
    ///
    /// # Errors
    /// As [`Overlay::open`](crate::Overlay::open), but that it may be open for writing and must be there.
    pub fn open(pack: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<Self, OverlayError> {
        let path = path.as_ref();
        let shape = Arc::new(Shape::of(&read_manifest(pack)?));
        let own = tempfile::tempdir().map_err(|cause| OverlayError::Folder {
            path: std::env::temp_dir(),
            cause,
        })?;
        // RocksDB asks for an absolute path.
        let absolute = fs::canonicalize(path).map_err(|cause| OverlayError::Folder {
            path: path.into(),
            cause,
        })?;
        let database = Database::open_beside(&absolute, own.path(), &shape)?;
        let rows = Arc::new(EditedRows::of_shape(shape));
        load(&database, path, &rows)?;
        Ok(Self {
            path: path.into(),
            database: Mutex::new(database),
            rows,
            _own: own,
        })
    }

    /// Serves what has been written by now, and returns the number of that version. Look-ups that were asked for before
    /// are served from the version before.
    ///
    /// # Errors
    /// A damaged database, or one that cannot be read; the version before is served on.
    pub fn refresh(&self) -> Result<u64, OverlayError> {
        let database = lock(&self.database);
        database.catch_up(&self.path)?;
        let (seen, found) = (self.snapshot().version(), database.version(&self.path)?);
        if found == seen {
            return Ok(seen);
        }
        let shape = self.shape();
        match database.changes(&self.path, shape, seen, found)? {
            Some(changes) => {
                let checked = changes.check(shape).map_err(|cause| OverlayError::Entry {
                    path: self.path.clone(),
                    cause,
                })?;
                self.rows.publish(&checked, found);
            }
            None => load(&database, &self.path, &self.rows)?,
        }
        Ok(found)
    }

    /// The tier that serves its rows, for [`Config::tier`](engram::Config::tier).
    pub fn rows(&self) -> Arc<EditedRows> {
        self.rows.clone()
    }

    /// The entries that it sees.
    pub fn snapshot(&self) -> Snapshot {
        self.rows.snapshot()
    }

    /// What edits have to fit.
    pub fn shape(&self) -> &Shape {
        self.rows.shape()
    }
}

impl fmt::Debug for OverlayReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverlayReader")
            .field("path", &self.path)
            .field("version", &self.snapshot().version())
            .finish_non_exhaustive()
    }
}
