//! Makes a pack that reads the checkpoint's own files.

use std::path::Path;

use anyhow::{Context, Result};
use engram_checkpoint::Checkpoint;
use engram_format::{Column, Manifest, RowId, Sample, Storage, seal};

use crate::build::{RowStream, begin_attach, draft, write_manifest, write_token_map};

/// Rows of each column whose seals the manifest keeps.
const SAMPLES_PER_COLUMN: u64 = 16;

/// Writes the pack `pack` over the files of `checkpoint`, which must stay where they are.
///
/// # Errors
/// A folder that is not empty or that another process fills, or a file that cannot be read or written. What was made
/// until then is removed.
pub fn attach(checkpoint: &Checkpoint, pack: &Path) -> Result<Manifest> {
    let folder = checkpoint.folder.canonicalize();
    let folder =
        folder.with_context(|| format!("cannot resolve {}", checkpoint.folder.display()))?;
    let Some(path) = folder.to_str() else {
        anyhow::bail!(
            "the path {} is not Unicode, so the manifest cannot name it",
            folder.display()
        );
    };
    let claim = begin_attach(pack)?;
    match fill(checkpoint, pack, path) {
        Ok(manifest) => claim.end().map(|()| manifest),
        Err(error) => {
            claim.abandon();
            Err(error)
        }
    }
}

/// Fills the folder `pack` over the files of `checkpoint`, which lie at `path`.
fn fill(checkpoint: &Checkpoint, pack: &Path, path: &str) -> Result<Manifest> {
    let storage = Storage::Attached {
        checkpoint: path.into(),
    };
    let mut manifest = draft(checkpoint, storage);
    for (index, table) in checkpoint.tables.iter().enumerate() {
        let mut rows = RowStream::new(checkpoint, table, 0);
        let mut bytes = vec![0; table.codec.row_bytes()];
        for row in checkpoint.scheme.columns(index).flat_map(sampled_rows) {
            rows.seek(row);
            rows.read(&mut bytes)?;
            let seal = seal(table.layer, RowId(row), &bytes);
            manifest.tables[index].samples.push(Sample { row, seal });
        }
    }
    write_token_map(pack, checkpoint.token_map.as_ref())?;
    write_manifest(pack, &manifest)?;
    Ok(manifest)
}

/// Some rows of a column, evenly spread, the first and the last among them.
fn sampled_rows(column: Column) -> impl Iterator<Item = u64> {
    let count = column.row_count.min(SAMPLES_PER_COLUMN);
    let last = column.row_count - 1;
    (0..count).map(move |i| column.first_row + last * i / (count - 1).max(1))
}
