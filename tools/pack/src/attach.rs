//! Makes a pack that reads the checkpoint's own files.

use std::path::{Path, absolute};

use anyhow::{Context, Result};
use engram_checkpoint::{Checkpoint, MIN_ZERO_RUN, SourceTable, ZeroRun, ZeroScan};
use engram_format::{Column, Manifest, RowId, Sample, Storage, seal};

use crate::build::{
    RowStream, begin_attach, draft, refuse, refuse_finished, unstored_rows, write_manifest,
    write_token_map,
};

/// Rows of each column whose seals the manifest keeps.
const SAMPLES_PER_COLUMN: u64 = 16;

/// How a pack is attached.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// Whether many rows in sequence may be zero, as where a download is not complete.
    pub allow_zeros: bool,
}

/// Writes the pack `pack` over the files of `checkpoint`, which must stay where they are.
///
/// # Errors
/// As [`attach_with`] without options.
pub fn attach(checkpoint: &Checkpoint, pack: &Path) -> Result<Manifest> {
    attach_with(checkpoint, pack, &AttachOptions::default())
}

/// As [`attach`]. The checkpoint's path is kept as it was given, absolute but with its links, so that a link to the
/// newest of several checkpoints goes on working.
///
/// # Errors
/// A folder that is not empty or that another process fills, a file that cannot be read or written, or many zero rows
/// in sequence, as far as holes in the files and the sampled rows show them. What was made until then is removed.
pub fn attach_with(
    checkpoint: &Checkpoint,
    pack: &Path,
    options: &AttachOptions,
) -> Result<Manifest> {
    let claim = begin_attach(pack)?;
    match fill(checkpoint, pack, options) {
        Ok(manifest) => claim.end().map(|()| manifest),
        Err(error) => {
            claim.abandon();
            Err(error)
        }
    }
}

/// The manifest that [`attach_with`] would write; writes nothing.
///
/// # Errors
/// As [`attach_with`], but of the folder `pack` only a finished pack is seen.
pub fn attach_plan(
    checkpoint: &Checkpoint,
    pack: &Path,
    options: &AttachOptions,
) -> Result<Manifest> {
    refuse_finished(pack)?;
    let folder = absolute(&checkpoint.folder);
    let folder =
        folder.with_context(|| format!("cannot resolve {}", checkpoint.folder.display()))?;
    let Some(path) = folder.to_str() else {
        anyhow::bail!(
            "the path {} is not Unicode, so the manifest cannot name it",
            folder.display()
        );
    };
    let storage = Storage::Attached {
        checkpoint: path.into(),
    };
    let mut manifest = draft(checkpoint, storage);
    for (index, table) in checkpoint.tables.iter().enumerate() {
        let mut zeros = unstored_rows(checkpoint, table)?;
        let mut rows = RowStream::new(checkpoint, table, 0);
        let mut bytes = vec![0; table.codec.row_bytes()];
        for column in checkpoint.scheme.columns(index) {
            for row in sampled_rows(column) {
                rows.seek(row);
                rows.read(&mut bytes)?;
                let seal = seal(table.layer, RowId(row), &bytes);
                manifest.tables[index].samples.push(Sample { row, seal });
                if has_zero_part(table, &bytes) {
                    zeros.extend(zeros_around(table, &mut rows, &column, row)?);
                }
            }
        }
        if !options.allow_zeros {
            refuse(checkpoint, table, &zeros)?;
        }
    }
    Ok(manifest)
}

fn fill(checkpoint: &Checkpoint, pack: &Path, options: &AttachOptions) -> Result<Manifest> {
    let manifest = attach_plan(checkpoint, pack, options)?;
    write_token_map(pack, checkpoint.token_map.as_ref())?;
    write_manifest(pack, &manifest)?;
    Ok(manifest)
}

/// Whether the part of a row that one of the planes has is zero.
fn has_zero_part(table: &SourceTable, row: &[u8]) -> bool {
    let mut rest = row;
    table.part_bytes().into_iter().any(|bytes| {
        let (part, after) = rest.split_at(bytes);
        rest = after;
        part.iter().all(|&byte| byte == 0)
    })
}

/// The runs of zero rows about `row`, as far as they are in its column and near.
fn zeros_around(
    table: &SourceTable,
    rows: &mut RowStream<'_>,
    column: &Column,
    row: u64,
) -> Result<Vec<ZeroRun>> {
    let first = row.saturating_sub(MIN_ZERO_RUN - 1).max(column.first_row);
    let end = (row + MIN_ZERO_RUN).min(column.first_row + column.row_count);
    let mut bytes = vec![0; usize::try_from(end - first)? * table.codec.row_bytes()];
    rows.seek(first);
    rows.read(&mut bytes)?;
    let mut scan = ZeroScan::new(table);
    scan.rows(first, &bytes);
    Ok(scan.finish())
}

/// Some rows of a column, evenly spread, the first and the last among them.
fn sampled_rows(column: Column) -> impl Iterator<Item = u64> {
    let count = column.row_count.min(SAMPLES_PER_COLUMN);
    let last = column.row_count - 1;
    (0..count).map(move |i| column.first_row + last * i / (count - 1).max(1))
}
