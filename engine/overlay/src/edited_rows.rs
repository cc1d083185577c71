//! Rows that change while stores serve them.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use engram::{LookupError, Manifest, RowsMut, Tier, Wanted};
use engram_io::lock;

use crate::{
    edits::{CheckedEdit, Edits},
    error::EditError,
    shape::Shape,
    version::Snapshot,
};

/// Edits of a pack's rows in memory: a [`Tier`] whose rows change.
///
/// Each batch of a look-up is served from the version that is the newest when it is asked for, all of it from that one;
/// [`Ticket::version`](engram::Ticket::version) tells which.
///
/// ```
/// use std::sync::Arc;
///
/// use engram::{Batch, Config, LayerId, RowId, Store, read_manifest};
/// use engram_overlay::{EditedRows, Edits, Key};
/// # let pack = concat!(env!("CARGO_MANIFEST_DIR"), "/../../format-spec/vectors/deepseek");
///
/// let edited = Arc::new(EditedRows::new(&read_manifest(pack)?));
/// let store = Store::open(pack, Config::new().tier(edited.clone()))?;
/// let width = store.codec(LayerId(1))?.width();
///
/// let mut edits = Edits::new();
/// edits.set(LayerId(1), Key::Row(RowId(7)), vec![0.5; width]);
/// edited.apply(&edits)?;
///
/// let mut values = vec![0.0_f32; width];
/// store.lookup_values(Batch::new(LayerId(1), &[RowId(7)]), &mut values[..])?;
/// assert_eq!(values, vec![0.5; width]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EditedRows {
    shape: Arc<Shape>,
    newest: RwLock<Snapshot>,
    /// Held by who makes the next version.
    writing: Mutex<()>,
}

impl EditedRows {
    /// No edits of the pack that `manifest` describes.
    pub fn new(manifest: &Manifest) -> Self {
        Self::of_shape(Arc::new(Shape::of(manifest)))
    }

    pub(crate) fn of_shape(shape: Arc<Shape>) -> Self {
        let newest = RwLock::new(Snapshot::new(shape.clone(), 0));
        Self {
            shape,
            newest,
            writing: Mutex::new(()),
        }
    }

    /// What edits have to fit.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    #[cfg(feature = "rocksdb")]
    pub(crate) fn shared_shape(&self) -> Arc<Shape> {
        self.shape.clone()
    }

    /// The entries as they are now, which later edits do not change.
    pub fn snapshot(&self) -> Snapshot {
        let newest = self.newest.read();
        newest.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes `edits` together, and returns the number of the version that has them.
    ///
    /// # Errors
    /// An edit that does not fit the pack; then none is made.
    pub fn apply(&self, edits: &Edits) -> Result<u64, EditError> {
        let checked = edits.check(&self.shape)?;
        let _writing = lock(&self.writing);
        let number = self.snapshot().version() + 1;
        self.publish(&checked, number);
        Ok(number)
    }

    /// Makes the version `number` of the newest one and `edits`. One caller at a time.
    pub(crate) fn publish(&self, edits: &[CheckedEdit<'_>], number: u64) {
        self.replace(self.snapshot().after(edits, number));
    }

    /// Serves `snapshot` from now on.
    pub(crate) fn replace(&self, snapshot: Snapshot) {
        let newest = self.newest.write();
        *newest.unwrap_or_else(PoisonError::into_inner) = snapshot;
    }
}

impl Tier for EditedRows {
    fn serve(&self, wanted: &mut Wanted<'_>, out: &mut RowsMut<'_>) -> Result<(), LookupError> {
        self.snapshot().serve(wanted, out)
    }

    fn pinned(&self) -> Option<Arc<dyn Tier>> {
        Some(self.snapshot().tier())
    }

    fn version(&self) -> u64 {
        self.snapshot().version()
    }
}
