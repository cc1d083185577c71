//! What a build or a conversion would write.

mod pace;

use std::path::{Path, absolute};

use anyhow::Result;
use engram_checkpoint::Checkpoint;
use engram_format::{LayerId, Manifest, RowCodec, Storage, TokenMap};
use engram_io::free_space;
use serde::Serialize;

use crate::build::{draft, refuse_finished, source_bytes};
use pace::{TRIAL_BYTES, pace};

/// What a build or a conversion would write, and whether there is room.
#[derive(Debug, Clone, Serialize)]
pub struct BuildPlan {
    /// In the order of the scheme's layers.
    pub tables: Vec<TablePlan>,
    /// Bytes of the whole pack.
    pub bytes: u64,
    /// Row bytes that are read.
    pub row_bytes: u64,
    /// Bytes that may still be written where the pack goes; none where the system does not say.
    pub free_bytes: Option<u64>,
    /// Seconds that it takes, about, or less where several jobs are faster than one: as long as one job would at the
    /// pace of up to 128 MiB that were copied there and removed again. None where the rows do not fit, and of a
    /// conversion.
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
        let notes = checkpoint.notes.clone();
        let draft = draft(checkpoint, Storage::Packed);
        let map = checkpoint.token_map.as_ref();
        let plan = Self::of(&draft, map, pack, source_bytes(checkpoint), notes)?;
        let fits = plan
            .free_bytes
            .is_some_and(|free| free >= plan.bytes.max(TRIAL_BYTES as u64));
        let pace = fits.then(|| pace(checkpoint, existing(&absolute(pack)?)));
        #[expect(clippy::cast_precision_loss, reason = "a time needs no 53 bits")]
        let seconds = pace.transpose()?.map(|pace| plan.row_bytes as f64 / pace);
        Ok(Self {
            padding_rows: checkpoint.padding_rows(),
            seconds,
            ..plan
        })
    }

    /// The plan for a pack with the manifest `draft`, for which `row_bytes` are read.
    pub(crate) fn of(
        draft: &Manifest,
        map: Option<&TokenMap>,
        pack: &Path,
        row_bytes: u64,
        notes: Vec<String>,
    ) -> Result<Self> {
        refuse_finished(pack)?;
        let tables = draft.tables.iter().enumerate().map(|(index, table)| {
            let layout = table.layout();
            let columns: Vec<_> = draft.scheme.columns(index).collect();
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
        });
        let tables: Vec<TablePlan> = tables.collect();
        let manifest = draft.to_text().len();
        let map = map.map_or(0, |map| map.to_bytes().len());
        let shards: u64 = tables.iter().map(|table| table.bytes).sum();
        Ok(Self {
            bytes: shards + (manifest + map) as u64,
            row_bytes,
            free_bytes: free_space(existing(&absolute(pack)?)),
            seconds: None,
            padding_rows: 0,
            notes,
            tables,
        })
    }
}

/// The nearest folder above `folder`, an absolute path, that is there: the root at the worst.
fn existing(folder: &Path) -> &Path {
    let mut ancestors = folder.ancestors();
    ancestors.find(|folder| folder.exists()).unwrap_or(folder)
}
