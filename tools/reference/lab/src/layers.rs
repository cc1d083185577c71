//! What a phase took, layer by layer.

use std::time::Duration;

use anyhow::Result;
use engram_kit::report;
use engram_model::RowTimes;
use serde::Serialize;

/// A decoder layer, with the Engram block ahead of it where it has one.
#[derive(Debug, Serialize)]
pub(crate) struct LayerReport {
    layer: usize,
    compute_ms: f64,
    engram: Option<EngramReport>,
}

#[derive(Debug, Serialize)]
struct EngramReport {
    rows: u64,
    /// Asking for rows, which copies those in memory.
    ask_ms: f64,
    /// From then on until the last row of a pass was there, that included.
    fetch_ms: f64,
    waited_ms: f64,
    /// How much of the time that rows took to come something was computed; none without rows.
    overlap: Option<f64>,
    compute_ms: f64,
}

fn ms(time: Duration) -> f64 {
    1e3 * time.as_secs_f64()
}

/// Joins the times of layers with those of the blocks ahead of them.
pub(crate) fn join(layers: &[Duration], blocks: &[RowTimes]) -> Vec<LayerReport> {
    let layers = layers.iter().enumerate().map(|(layer, &time)| LayerReport {
        layer,
        compute_ms: ms(time),
        engram: blocks
            .iter()
            .find(|block| block.layer == layer)
            .map(|block| EngramReport {
                rows: block.rows,
                ask_ms: ms(block.asked),
                fetch_ms: ms(block.fetched),
                waited_ms: ms(block.waited),
                overlap: block.overlap(),
                compute_ms: ms(block.computed),
            }),
    });
    layers.collect()
}

pub(crate) fn print(layers: &[LayerReport]) -> Result<()> {
    let cells = layers.iter().map(|layer| {
        let mut cells = vec![layer.layer.to_string(), report::figure(layer.compute_ms)];
        match &layer.engram {
            None => cells.resize(8, String::new()),
            Some(engram) => cells.extend([
                engram.rows.to_string(),
                report::figure(engram.ask_ms),
                report::figure(engram.fetch_ms),
                report::figure(engram.waited_ms),
                engram
                    .overlap
                    .map_or(String::new(), |share| format!("{:.0} %", 100.0 * share)),
                report::figure(engram.compute_ms),
            ]),
        }
        cells
    });
    let head = [
        "layer",
        "compute, ms",
        "rows",
        "asked, ms",
        "fetched, ms",
        "waited, ms",
        "overlap",
        "Engram block, ms",
    ];
    report::table(&head, &cells.collect::<Vec<_>>())
}
