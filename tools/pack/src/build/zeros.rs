//! Rows that are zero because a part of their file has never come.

use anyhow::{Result, bail};
use engram_checkpoint::{Checkpoint, SourceTable, ZeroRun};
use engram_format::{Plane, RowId};
use engram_io::holes;

/// Refuses a table with `runs` of zero rows, if there are any.
pub(crate) fn refuse(checkpoint: &Checkpoint, table: &SourceTable, runs: &[ZeroRun]) -> Result<()> {
    let Some(run) = runs.first() else {
        return Ok(());
    };
    let holds = |plane: &&Plane| plane.segment_of(RowId(run.first_row)).tensor == run.tensor;
    let plane = table.planes.iter().find(holds).unwrap_or(&table.planes[0]);
    let source = plane.segment_of(RowId(run.first_row)).source as usize;
    let file = checkpoint.folder.join(&checkpoint.sources[source].name);
    bail!(
        "{}: {run}; fetch the file again, or pass --allow-zeros if the table is so",
        file.display()
    )
}

/// The runs of zero rows that the file system has never stored; no row is read for that.
///
/// # Errors
/// A source that cannot be opened.
pub(crate) fn unstored_rows(checkpoint: &Checkpoint, table: &SourceTable) -> Result<Vec<ZeroRun>> {
    let mut runs = Vec::new();
    for plane in &table.planes {
        for segment in &plane.segments {
            let file = &checkpoint.sources[segment.source as usize].name;
            let end = segment.offset + segment.row_count * plane.row_bytes;
            for hole in holes(&checkpoint.folder.join(file), segment.offset..end)? {
                let first = (hole.start - segment.offset).div_ceil(plane.row_bytes);
                let rows = ((hole.end - segment.offset) / plane.row_bytes).saturating_sub(first);
                runs.extend(ZeroRun::new(
                    table.layer,
                    plane,
                    segment.first_row + first,
                    rows,
                ));
            }
        }
    }
    Ok(runs)
}
