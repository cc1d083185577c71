//! Edits that another process makes.

use std::{
    collections::BTreeSet,
    ffi::OsString,
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
    database: Mutex<Beside>,
    rows: Arc<EditedRows>,
}

/// How often a database is opened anew because the one who writes it has just replaced its files.
const OPENINGS: usize = 16;

/// A database that somebody else writes.
struct Beside {
    database: Database,
    /// Absolute, which RocksDB asks for.
    path: PathBuf,
    /// Its logs and tables when it was opened.
    files: BTreeSet<OsString>,
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
        let absolute = fs::canonicalize(path).map_err(|cause| OverlayError::Folder {
            path: path.into(),
            cause,
        })?;
        let beside = Beside::open(absolute, &shape)?;
        let rows = Arc::new(EditedRows::of_shape(shape));
        load(&beside.database, path, &rows)?;
        Ok(Self {
            path: path.into(),
            database: Mutex::new(beside),
            rows,
        })
    }

    /// Serves what has been written by now, and returns the number of that version. Look-ups that were asked for before
    /// are served from the version before.
    ///
    /// # Errors
    /// A damaged database, or one that cannot be read; the version before is served on.
    pub fn refresh(&self) -> Result<u64, OverlayError> {
        let mut beside = lock(&self.database);
        beside.catch_up(self.shape())?;
        let database = &beside.database;
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
            None => load(database, &self.path, &self.rows)?,
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

impl Beside {
    fn open(path: PathBuf, shape: &Shape) -> Result<Self, OverlayError> {
        for _ in 0..OPENINGS {
            let files = data_files(&path)?;
            let own = tempfile::tempdir().map_err(|cause| OverlayError::Folder {
                path: std::env::temp_dir(),
                cause,
            })?;
            let opened = Database::open_beside(&path, own.path(), shape);
            if data_files(&path)? == files {
                return Ok(Self {
                    database: opened?,
                    path,
                    files,
                    _own: own,
                });
            }
        }
        Err(OverlayError::Database {
            path,
            action: "open",
            reason: "its files are replaced all the time".into(),
        })
    }

    /// Sees what has been written since.
    ///
    /// RocksDB goes on to serve a reader what it read from a log, although newer rows of the same keys have come to a
    /// table since without its having read them in the log (its issues 14444 and 15051). So once there are other logs
    /// or tables, the database is opened anew.
    fn catch_up(&mut self, shape: &Shape) -> Result<(), OverlayError> {
        if data_files(&self.path)? == self.files {
            let caught_up = self.database.catch_up(&self.path);
            if data_files(&self.path)? == self.files {
                return caught_up;
            }
        }
        *self = Self::open(self.path.clone(), shape)?;
        Ok(())
    }
}

/// Names of the logs and tables of the database in `path`.
fn data_files(path: &Path) -> Result<BTreeSet<OsString>, OverlayError> {
    let is_data = |name: &OsString| {
        let end = Path::new(name).extension();
        end.is_some_and(|end| end == "log" || end == "sst")
    };
    let entries = fs::read_dir(path).and_then(|entries| {
        let names = entries.map(|entry| Ok(entry?.file_name()));
        names.collect::<Result<BTreeSet<OsString>, _>>()
    });
    let names = entries.map_err(|cause| OverlayError::Folder {
        path: path.into(),
        cause,
    })?;
    Ok(names.into_iter().filter(is_data).collect())
}

impl fmt::Debug for OverlayReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverlayReader")
            .field("path", &self.path)
            .field("version", &self.snapshot().version())
            .finish_non_exhaustive()
    }
}
