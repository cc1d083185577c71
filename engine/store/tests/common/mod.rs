//! A small pack for tests that change their process or what it may do.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use engram::{Batch, LayerId, LookupError, RowId, Store};

/// The layer of the pack that tests look up.
pub(crate) const LAYER: LayerId = LayerId(1);

/// Copies the small pack among the vectors to `pack`, where every user may read it.
pub(crate) fn copy_pack(pack: &Path) {
    copy_folder(
        Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../format-spec/vectors/deepseek"
        )),
        pack,
    );
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    allow(to, 0o755);
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copy = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &copy);
        } else {
            fs::copy(entry.path(), &copy).unwrap();
            allow(&copy, 0o644);
        }
    }
}

/// Gives a file or folder these permissions.
pub(crate) fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The bytes of all rows of [`LAYER`].
pub(crate) fn all_rows(store: &Store) -> Result<Vec<u8>, LookupError> {
    let count = store.columns(LAYER)?.iter().map(|column| column.row_count);
    let rows: Vec<RowId> = (0..count.sum()).map(RowId).collect();
    let mut bytes = vec![0; rows.len() * store.codec(LAYER)?.row_bytes()];
    store.lookup(Batch::new(LAYER, &rows), &mut bytes)?;
    Ok(bytes)
}
