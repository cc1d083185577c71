//! What a build would write.

mod pace;

use std::path::{Path, absolute};

use anyhow::Result;
use engram_checkpoint::Checkpoint;
use engram_format::{LayerId, RecordLayout, RowCodec, Storage};
use engram_io::free_space;
use serde::Serialize;

use crate::build::{draft, refuse_finished, source_bytes};
use pace::{TRIAL_BYTES, pace};

/// What a build would write, and whether there is room.
#[derive(Debug, Clone, Serialize)]
pub struct BuildPlan {
    /// In the order of the scheme's layers.
    pub tables: Vec<TablePlan>,
    /// Bytes of the whole pack.
    pub bytes: u64,
    /// Row bytes that are read from the checkpoint.
    pub row_bytes: u64,
    /// Bytes that may still be written where the pack goes; none where the system does not say.
    pub free_bytes: Option<u64>,
    /// Seconds that it takes, about, or less where several jobs are faster than one: as long as one job would at the pace
    /// of up to 128 MiB that were copied there and removed again. None where the rows do not fit.
    pub seconds: Option<f64>,
    /// Rows of padding at the end of the checkpoint's tables, which the pack leaves out.
    pub padding_rows: u64,
    /// What the checkpoint's owner should know though it is no fault.
    pub notes: Vec<String>,
}

/// One table of a [`BuildPlan`].
#[derive(Debug, Clone, Serialize)]
pub struct TablePlan {
    /// The model's layer id.
    pub layer: LayerId,
    /// How its rows are encoded.
    pub codec: RowCodec,
    /// Its rows.
    pub rows: u64,
    /// Its shards.
    pub shards: usize,
    /// Bytes of them.
    pub bytes: u64,
}

impl BuildPlan {
    /// The plan for a pack of `checkpoint` in the folder `pack`, which need not be there. Takes some seconds.
    ///
    /// # Errors
    /// A finished pack in that folder, or rows that cannot be copied to its drive.
    pub fn new(checkpoint: &Checkpoint, pack: &Path) -> Result<Self> {
        refuse_finished(pack)?;
        let tables: Vec<TablePlan> = (checkpoint.tables.iter().enumerate())
            .map(|(index, table)| {
                let layout = RecordLayout::new(table.codec.row_bytes());
                let columns: Vec<_> = checkpoint.scheme.columns(index).collect();
                let shards = columns.iter();
                TablePlan {
                    layer: table.layer,
                    codec: table.codec,
                    rows: columns.iter().map(|column| column.row_count).sum(),
                    shards: columns.len(),
                    bytes: shards
                        .map(|column| layout.shard_bytes(column.row_count))
                        .sum(),
                }
            })
            .collect();
        let manifest = draft(checkpoint, Storage::Packed).to_text().len();
        let map = checkpoint
            .token_map
            .as_ref()
            .map_or(0, |map| map.to_bytes().len());
        let shards: u64 = tables.iter().map(|table| table.bytes).sum();
        let folder = absolute(pack)?;
        let existing = folder.ancestors().find(|folder| folder.exists());
        let bytes = shards + (manifest + map) as u64;
        let row_bytes = source_bytes(checkpoint);
        let free_bytes = existing.and_then(free_space);
        let fits = free_bytes.is_some_and(|free| free >= bytes.max(TRIAL_BYTES as u64));
        let pace = existing
            .filter(|_| fits)
            .map(|folder| pace(checkpoint, folder));
        #[expect(clippy::cast_precision_loss, reason = "a time needs no 53 bits")]
        let seconds = pace.transpose()?.map(|pace| row_bytes as f64 / pace);
        Ok(Self {
            bytes,
            row_bytes,
            free_bytes,
            seconds,
            padding_rows: checkpoint.padding_rows(),
            notes: checkpoint.notes.clone(),
            tables,
        })
    }
}
