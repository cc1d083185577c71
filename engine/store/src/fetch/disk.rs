//! Where the parts of a table's rows lie on the drive, and how they are checked on arrival.

use engram_format::{Column, LayerId, Plane, RecordLayout, RowId, SEAL_BYTES, seal};
use engram_io::DirectFile;

use std::sync::Arc;

use crate::{
    cache::TableCache,
    columns,
    error::LookupError,
    metrics::{Counters, add},
};

use super::Intake;

/// Lives of a row that was put into the cache on purpose.
pub(crate) const WARM_LIVES: u64 = 1;

/// The rows of one table in files that are read past the page cache.
#[derive(Debug)]
pub(crate) struct DiskRows {
    pub(crate) layer: LayerId,
    pub(crate) check_seals: bool,
    pub(crate) source: DiskSource,
    /// All files of the pack.
    pub(crate) files: Arc<[DirectFile]>,
    /// Rows read before.
    pub(crate) cache: Option<TableCache>,
    pub(crate) counters: Counters,
}

#[derive(Debug)]
pub(crate) enum DiskSource {
    /// One record a row, in the shard of its column.
    Sealed {
        layout: RecordLayout,
        columns: Vec<Column>,
        /// The file of the first column; the others follow.
        first_file: u32,
    },
    /// One part a plane, in the checkpoint's tensors.
    Attached { planes: Vec<Plane> },
}

/// Where a part of a row lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: u32,
    pub(crate) offset: u64,
    pub(crate) len: usize,
}

impl DiskRows {
    /// Bytes of the parts that a row is read in.
    pub(crate) fn parts(&self) -> [usize; 2] {
        match &self.source {
            DiskSource::Sealed { layout, .. } => [layout.row_bytes(), 0],
            DiskSource::Attached { planes } => {
                let bytes = |plane: &Plane| {
                    usize::try_from(plane.row_bytes).expect("a part of a row fits memory")
                };
                [bytes(&planes[0]), planes.get(1).map_or(0, bytes)]
            }
        }
    }

    /// Bytes of the longest part, with its seal.
    pub(crate) fn longest_read(&self) -> usize {
        match &self.source {
            DiskSource::Sealed { layout, .. } => layout.stride(),
            DiskSource::Attached { .. } => self.parts()[0].max(self.parts()[1]),
        }
    }

    /// Reads that a row takes.
    pub(crate) fn part_count(&self) -> u8 {
        if self.parts()[1] == 0 { 1 } else { 2 }
    }

    /// Where part `part` of `row` lies.
    pub(crate) fn place(&self, row: RowId, part: usize) -> Place {
        match &self.source {
            DiskSource::Sealed {
                layout,
                columns,
                first_file,
            } => {
                let column = columns::find(columns, row);
                Place {
                    file: first_file + column.index,
                    offset: layout.record_offset(row.0 - column.first_row),
                    len: layout.stride(),
                }
            }
            DiskSource::Attached { planes } => {
                let plane = &planes[part];
                let segment = plane.segment_of(row);
                Place {
                    file: segment.source,
                    offset: segment.offset + (row.0 - segment.first_row) * plane.row_bytes,
                    len: usize::try_from(plane.row_bytes).expect("a part of a row fits memory"),
                }
            }
        }
    }

    /// Copies the bytes of a part from its `record`, where its seal is right, and lets the cache take them by
    /// `intake`.
    pub(crate) fn check_out(
        &self,
        row: RowId,
        place: &Place,
        record: &[u8],
        intake: Intake,
        out: &mut [u8],
    ) -> Result<(), LookupError> {
        let (bytes, rest) = record.split_at(out.len());
        let stored = rest.last_chunk::<SEAL_BYTES>();
        let stored = stored.map(|stored| u64::from_le_bytes(*stored));
        if self.check_seals
            && let Some(expected) = stored
        {
            let found = seal(self.layer, row, bytes);
            if found != expected {
                return Err(LookupError::Damaged {
                    path: self.files[place.file as usize].path().into(),
                    layer: self.layer,
                    row,
                    offset: place.offset,
                    found,
                    expected,
                });
            }
        }
        out.copy_from_slice(bytes);
        if let Some(cache) = &self.cache {
            // The record's own seal, so that a damaged row which nobody checked is no hit of anybody.
            let seal = stored.unwrap_or_else(|| seal(self.layer, row, bytes));
            match intake {
                Intake::Offer => cache.offer(row, bytes, seal),
                Intake::Warm => cache.rows.insert(row, WARM_LIVES, bytes, seal),
                Intake::Seed(lives) => cache.rows.insert_if_room(row, lives, bytes, seal),
            }
        }
        Ok(())
    }

    /// Counts the looks of a batch at the rows of each column.
    pub(crate) fn count(&self, counts: &[[u32; 2]]) {
        for (index, &[looks, hits]) in counts
            .iter()
            .enumerate()
            .filter(|(_, counts)| counts[0] > 0)
        {
            let [all, cached] = &self.counters.columns[index];
            add(all, looks.into());
            add(cached, hits.into());
            if let Some(cache) = &self.cache {
                cache.count(index, looks, hits);
            }
        }
    }
}
