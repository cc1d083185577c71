//! Rows that are edited.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use engram::{Manifest, RowId};
use engram_format::Column;
use engram_kit::random::Random;
use engram_overlay::{EditedRows, Edits, Key};

use crate::row_choice::random_rows;

/// Of so many rows that are read, one has been edited.
const READS_OF_A_HIT: usize = 100;

/// Edits of `count` rows of the first table at random: of `read` rows none, or one in a hundred.
pub(super) fn rows(
    manifest: &Manifest,
    columns: &[Column],
    read: &[RowId],
    count: usize,
    hits: bool,
    seed: u64,
) -> Result<EditedRows> {
    let table = &manifest.tables[0];
    let is_read: HashSet<RowId> = read.iter().copied().collect();
    let rows: u64 = columns.iter().map(|column| column.row_count).sum();
    ensure!(
        (count + is_read.len()) as u64 <= rows / 10 * 9,
        "the table has {rows} rows, of which {count} cannot be edited while {} others are read; read fewer (--rows)",
        is_read.len()
    );
    let mut chosen: HashSet<RowId> = HashSet::new();
    if hits {
        chosen.extend(read.iter().step_by(READS_OF_A_HIT).take(count));
    }
    let mut random = Random::new(seed + 1);
    while chosen.len() < count {
        let more = random_rows(columns, count - chosen.len(), &mut random);
        chosen.extend(more.into_iter().filter(|row| !is_read.contains(row)));
    }
    let mut edits = Edits::new();
    for row in chosen {
        let byte = row.0.to_le_bytes()[0];
        edits.set(
            table.layer,
            Key::Row(row),
            vec![byte; table.codec.row_bytes()],
        );
    }
    let edited = EditedRows::new(manifest);
    edited.apply(&edits)?;
    Ok(edited)
}
