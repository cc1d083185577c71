//! Shards that are spread over several folders, so that several drives are read at once (FORMAT.md, "Stripes").

use serde::{Deserialize, Serialize};

use super::{Manifest, Storage, check::ensure};
use crate::error::FormatError;

/// The most stripes that a pack may have.
pub const MAX_STRIPES: usize = 256;

/// Name of the pack's own folder as that of a stripe.
pub const PACK_FOLDER: &str = ".";

/// Which shards of a pack lie in which folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stripes {
    /// The folder of each stripe when the pack was built: an absolute path, or one within the pack's folder, or
    /// [`PACK_FOLDER`].
    pub folders: Vec<String>,
    /// For each table, the stripe of each column: an index in [`Self::folders`].
    pub columns: Vec<Vec<u32>>,
}

impl Stripes {
    /// The columns of all tables in turns over `folders`. Each token reads a row of each column, so every stripe is
    /// asked for as many rows, as near as whole columns come to it.
    ///
    /// # Panics
    /// If there is no folder, or are 2^32.
    pub fn in_turns(folders: Vec<String>, tables: usize, columns: usize) -> Self {
        let stripes = u32::try_from(folders.len()).expect("a few folders");
        let mut next = (0..stripes).cycle();
        let columns = (0..tables).map(|_| next.by_ref().take(columns).collect());
        Self {
            columns: columns.collect(),
            folders,
        }
    }
}

impl Manifest {
    /// The stripe that has the shard of the column at `column` of the table at `table`; none where the pack's own
    /// folder has all shards.
    ///
    /// # Panics
    /// If there is no such column.
    pub fn stripe_of(&self, table: usize, column: usize) -> Option<u32> {
        let stripes = self.stripes.as_ref()?;
        Some(stripes.columns[table][column])
    }

    /// Checks the stripes, if there are any.
    pub(super) fn check_stripes(&self) -> Result<(), FormatError> {
        let Some(Stripes { folders, columns }) = &self.stripes else {
            return Ok(());
        };
        ensure(
            "stripes",
            "present",
            self.storage == Storage::Packed,
            "none but in a packed pack",
        )?;
        ensure(
            "stripes.folders",
            folders.len(),
            (1..=MAX_STRIPES).contains(&folders.len()),
            &format!("1 to {MAX_STRIPES}"),
        )?;
        for (index, folder) in folders.iter().enumerate() {
            ensure(
                "stripes.folders",
                folder,
                is_folder(folder) && !folders[..index].contains(folder),
                "different paths, absolute or within the pack's folder, of plain names",
            )?;
        }
        let found: Vec<usize> = columns.iter().map(Vec::len).collect();
        let expected: Vec<usize> = self.tables.iter().map(|table| table.shards.len()).collect();
        ensure(
            "stripes.columns",
            format!("of {found:?} columns"),
            found == expected,
            &format!("of {expected:?}, the columns of each table"),
        )?;
        let last = folders.len() - 1;
        let mut stripes = columns.iter().flatten();
        let beyond = stripes.find(|stripe| **stripe as usize > last);
        ensure(
            "stripes.columns",
            beyond.copied().unwrap_or(0),
            beyond.is_none(),
            &format!("0 to {last}"),
        )
    }
}

/// Whether a stripe may lie at `path`: nothing in it leads back, so it is what it seems to be.
fn is_folder(path: &str) -> bool {
    let is_name = |name: &str| !matches!(name, "" | "." | "..") && !name.contains(['\\', '\0']);
    path == PACK_FOLDER
        || path
            .strip_prefix('/')
            .unwrap_or(path)
            .split('/')
            .all(is_name)
}
