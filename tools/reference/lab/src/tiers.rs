//! Where rows came from.

use anyhow::Result;
use engram::{LayerId, Metrics, TableMetrics};
use engram_kit::report::table;
use serde::Serialize;

/// Rows of one table by the tier that served them.
#[derive(Debug, Serialize)]
pub(crate) struct TierReport {
    layer: LayerId,
    /// From resident columns, a mapping or a read through the page cache, whichever the reader has.
    memory: u64,
    cached: u64,
    drive: u64,
    bytes_read: u64,
}

impl TierReport {
    fn of(table: &TableMetrics) -> Self {
        let on_disk: u64 = table.columns.iter().map(|column| column.rows).sum();
        let cached = table.columns.iter().map(|column| column.cached).sum();
        Self {
            layer: table.layer,
            memory: table.rows - on_disk,
            cached,
            drive: on_disk - cached,
            bytes_read: table.bytes_read,
        }
    }

    fn since(self, before: &Self) -> Self {
        Self {
            layer: self.layer,
            memory: self.memory - before.memory,
            cached: self.cached - before.cached,
            drive: self.drive - before.drive,
            bytes_read: self.bytes_read - before.bytes_read,
        }
    }
}

/// The rows of `metrics` that are not in `before`, earlier metrics of the same store.
pub(crate) fn report(metrics: &Metrics, before: Option<&Metrics>) -> Vec<TierReport> {
    let tables = metrics.tables.iter().enumerate();
    let tiers = tables.map(|(index, table)| match before {
        Some(before) => TierReport::of(table).since(&TierReport::of(&before.tables[index])),
        None => TierReport::of(table),
    });
    tiers.collect()
}

pub(crate) fn print(tiers: &[TierReport]) -> Result<()> {
    let cells = tiers.iter().map(|tier| {
        vec![
            tier.layer.to_string(),
            tier.memory.to_string(),
            tier.cached.to_string(),
            tier.drive.to_string(),
            tier.bytes_read.to_string(),
        ]
    });
    let head = [
        "table of layer",
        "rows from memory or page cache",
        "row cache",
        "drive",
        "bytes read",
    ];
    table(&head, &cells.collect::<Vec<_>>())
}
