//! Edits that outlive their process.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use engram::read_manifest;
use engram_io::lock;

use crate::{
    database::{Database, Durability},
    edited_rows::EditedRows,
    edits::Edits,
    overlay_error::OverlayError,
    shape::Shape,
    version::Snapshot,
};

/// Edits of a pack's rows in a RocksDB database, open to be written. Its rows are in memory, too, where look-ups find
/// them.
///
/// One process writes, through one of these; any number read beside it ([`OverlayReader`](crate::OverlayReader)).
///
/// ```
/// use engram::{Config, LayerId, RowId, Store};
/// use engram_overlay::{Durability, Edits, Key, Overlay};
/// # let pack = concat!(env!("CARGO_MANIFEST_DIR"), "/../../format-spec/vectors/deepseek");
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("edits");
///
/// let overlay = Overlay::open(pack, path, Durability::Drive)?;
/// let store = Store::open(pack, Config::new().tier(overlay.rows()))?;
///
/// let mut edits = Edits::new();
/// let width = store.codec(LayerId(1))?.width();
/// edits.set(LayerId(1), Key::Row(RowId(7)), vec![0.5; width]);
/// assert_eq!(overlay.write(&edits)?, 1); // the version that has them
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Overlay {
    path: PathBuf,
    database: Database,
    rows: Arc<EditedRows>,
    durability: Durability,
    /// Whether a batch could not be written. Held by who writes.
    is_broken: Mutex<bool>,
}

impl Overlay {
    /// Opens the overlay of the pack in the folder `pack` that lies in the folder `path`, and makes one if there is
    /// none. Reads all of its entries, and keeps them in memory.
    ///
    /// # Errors
    /// A pack that cannot be read; a folder that is something else, belongs to another pack, is damaged, or is being
    /// written by someone else.
    pub fn open(
        pack: impl AsRef<Path>,
        path: impl AsRef<Path>,
        durability: Durability,
    ) -> Result<Self, OverlayError> {
        let path = path.as_ref();
        let shape = Arc::new(Shape::of(&read_manifest(pack)?));
        let database = Database::open(path, &shape)?;
        let rows = Arc::new(EditedRows::of_shape(shape));
        load(&database, path, &rows)?;
        Ok(Self {
            path: path.into(),
            database,
            rows,
            durability,
            is_broken: Mutex::new(false),
        })
    }

    /// The tier that serves its rows, for [`Config::tier`](engram::Config::tier).
    pub fn rows(&self) -> Arc<EditedRows> {
        self.rows.clone()
    }

    /// Its entries as they are now, which later edits do not change.
    pub fn snapshot(&self) -> Snapshot {
        self.rows.snapshot()
    }

    /// What edits have to fit.
    pub fn shape(&self) -> &Shape {
        self.rows.shape()
    }

    /// Makes `edits` together. When it returns, they are written as [`Durability`] says, look-ups of this process see
    /// them, and the number of the version that has them is returned.
    ///
    /// # Errors
    /// An edit that does not fit, or a batch that cannot be written: then look-ups see none of it, and once the overlay
    /// has been opened again, all of it is there or nothing. Until then no more is written ([`OverlayError::Broken`]).
    pub fn write(&self, edits: &Edits) -> Result<u64, OverlayError> {
        let checked = edits.check(self.shape())?;
        let mut is_broken = lock(&self.is_broken);
        if *is_broken {
            return Err(OverlayError::Broken {
                path: self.path.clone(),
            });
        }
        let number = self.snapshot().version() + 1;
        let written = self
            .database
            .write(&self.path, &checked, number, self.durability);
        *is_broken = written.is_err();
        written?;
        self.rows.publish(&checked, number);
        Ok(number)
    }

    /// Brings every batch to the drive that was written with [`Durability::System`].
    ///
    /// # Errors
    /// A drive that does not take it.
    pub fn sync(&self) -> Result<(), OverlayError> {
        self.database.sync(&self.path)
    }
}

/// Reads all entries to `rows`.
pub(crate) fn load(
    database: &Database,
    path: &Path,
    rows: &EditedRows,
) -> Result<(), OverlayError> {
    let entries = database.entries(path, rows.shape())?;
    let checked = entries
        .check(rows.shape())
        .map_err(|cause| OverlayError::Entry {
            path: path.into(),
            cause,
        })?;
    let empty = Snapshot::new(rows.shared_shape(), 0);
    rows.replace(empty.after(&checked, database.version(path)?));
    Ok(())
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay")
            .field("path", &self.path)
            .field("version", &self.snapshot().version())
            .finish_non_exhaustive()
    }
}
