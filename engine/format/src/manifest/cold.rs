//! What the manifest of a cold pack says of its files (FORMAT.md, "Cold packs").

use super::{Manifest, Storage, check::ensure};
use crate::error::FormatError;

impl Manifest {
    /// Checks what a cold pack says of its files.
    pub(super) fn check_cold(&self) -> Result<(), FormatError> {
        let Storage::Cold { tables } = &self.storage else {
            return Ok(());
        };
        ensure(
            "storage.tables",
            tables.len(),
            tables.len() == self.tables.len(),
            "one for each table",
        )?;
        for (index, (cold, table)) in tables.iter().zip(&self.tables).enumerate() {
            ensure(
                "storage.tables.shards",
                cold.shards.len(),
                cold.shards.len() == table.shards.len(),
                "one for each column",
            )?;
            ensure(
                "storage.tables.frame_rows",
                cold.frame_rows,
                cold.frame_rows > 0,
                "more",
            )?;
            for column in self.scheme.columns(index) {
                let place = format!("column {} of layer {}", column.index, table.layer);
                let cold = self.cold_column(index, column);
                cold.expect("the pack is cold").check(&place)?;
            }
        }
        Ok(())
    }
}
