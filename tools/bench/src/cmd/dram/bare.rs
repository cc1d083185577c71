//! The limit: rows copied from memory that is on its way, and nothing else.

use anyhow::{Result, ensure};
use engram::{Manifest, RowId};
use engram_format::{Column, RecordLayout};
use engram_io::{MemoryReader, prefetch};

use crate::{pack::PackArgs, timing::Latencies};

/// Rows whose memory is on its way when they are prefetched one by one.
const AHEAD: usize = 24;
/// Rows that are prefetched at a time, while those before are copied.
const BLOCK: usize = 16;

/// The rows of a table in memory, to be copied without any check.
pub(super) struct Bare {
    columns: Vec<(Column, MemoryReader)>,
    layout: RecordLayout,
}

impl Bare {
    pub(super) fn open(pack: &PackArgs, manifest: &Manifest, columns: &[Column]) -> Result<Self> {
        let files = pack.files(manifest)?;
        ensure!(
            files.len() >= columns.len(),
            "an attached pack has no shards to copy from"
        );
        let columns = columns.iter().zip(files);
        Ok(Self {
            columns: columns
                .map(|(&column, path)| Ok((column, MemoryReader::open(&path)?)))
                .collect::<Result<_>>()?,
            layout: manifest.tables[0].layout(),
        })
    }

    /// Where each of `rows` lies.
    fn records(&self, rows: &[RowId]) -> Vec<&[u8]> {
        let records = rows.iter().map(|row| {
            let next = self
                .columns
                .partition_point(|(column, _)| column.first_row <= row.0);
            let (column, reader) = &self.columns[next - 1];
            let offset = self.layout.record_offset(row.0 - column.first_row);
            let start = usize::try_from(offset).expect("it is in memory");
            &reader.bytes()[start..start + self.layout.row_bytes()]
        });
        records.collect()
    }

    /// Times of calls of `batch` of `rows` each, prefetched one by one or in blocks, whichever is
    /// faster; where each row lies is worked out before.
    pub(super) fn time(&self, rows: &[RowId], batch: usize, out: &mut [u8]) -> Latencies {
        let records = self.records(rows);
        let (mut one_by_one, mut in_blocks) = (Latencies::default(), Latencies::default());
        for records in records.chunks(batch) {
            one_by_one.time(|| {
                for (index, place) in out.chunks_exact_mut(records[0].len()).enumerate() {
                    let Some(record) = records.get(index) else {
                        break;
                    };
                    records
                        .get(index + AHEAD)
                        .into_iter()
                        .for_each(|next| prefetch(next));
                    place.copy_from_slice(record);
                }
            });
        }
        for records in records.chunks(batch) {
            in_blocks.time(|| {
                let blocks = records.chunks(BLOCK);
                let later = blocks.clone().skip(2).chain([&[][..]; 2]);
                let first = &records[..records.len().min(2 * BLOCK)];
                first.iter().for_each(|record| prefetch(record));
                let places = out.chunks_mut(BLOCK * records[0].len());
                for ((block, later), places) in blocks.zip(later).zip(places) {
                    later.iter().for_each(|record| prefetch(record));
                    for (record, place) in block
                        .iter()
                        .zip(places.chunks_exact_mut(record_bytes(block)))
                    {
                        place.copy_from_slice(record);
                    }
                }
            });
        }
        if one_by_one.total() < in_blocks.total() {
            one_by_one
        } else {
            in_blocks
        }
    }
}

fn record_bytes(block: &[&[u8]]) -> usize {
    block.first().map_or(1, |record| record.len())
}
