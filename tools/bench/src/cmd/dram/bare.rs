//! The limit: rows copied from memory that is on its way, and nothing else; or with their seals taken.

use anyhow::{Result, ensure};
use engram::{LayerId, Manifest, RowId};
use engram_format::{Column, RecordLayout, SEAL_BYTES, copy_and_seal};
use engram_io::{MemoryReader, prefetch};

use crate::{pack::PackArgs, timing::Latencies};

/// Rows whose memory is on its way when they are prefetched one by one.
const AHEAD: usize = 24;
/// Rows that are prefetched at a time while those before are copied: the number that is fastest here.
const BLOCK: usize = 64;

/// The rows of a table in memory.
pub(super) struct Bare {
    layer: LayerId,
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
            layer: manifest.tables[0].layer,
            columns: columns
                .map(|(&column, path)| Ok((column, MemoryReader::open(&path)?)))
                .collect::<Result<_>>()?,
            layout: manifest.tables[0].layout(),
        })
    }

    /// Where each of `rows` lies.
    fn records(&self, rows: &[RowId]) -> Vec<(RowId, &[u8])> {
        let records = rows.iter().map(|&row| {
            let next = self
                .columns
                .partition_point(|(column, _)| column.first_row <= row.0);
            let (column, reader) = &self.columns[next - 1];
            let offset = self.layout.record_offset(row.0 - column.first_row);
            let start = usize::try_from(offset).expect("it is in memory");
            (row, &reader.bytes()[start..start + self.layout.stride()])
        });
        records.collect()
    }

    /// Times of calls of `batch` of `rows` each that copy rows and look at nothing; where each lies is worked out
    /// before.
    pub(super) fn copy(&self, rows: &[RowId], batch: usize, out: &mut [u8]) -> Latencies {
        self.time(rows, batch, out, |(_, record), place| {
            place.copy_from_slice(&record[..place.len()]);
        })
    }

    /// As [`Self::copy`], with a look at the seals.
    ///
    /// # Panics
    /// If a seal is wrong.
    pub(super) fn copy_sealed(&self, rows: &[RowId], batch: usize, out: &mut [u8]) -> Latencies {
        self.time(rows, batch, out, |(row, record), place| {
            let (bytes, rest) = record.split_at(place.len());
            let stored: &[u8; SEAL_BYTES] = rest.last_chunk().expect("a seal ends the record");
            let found = copy_and_seal(self.layer, row, bytes, place);
            assert_eq!(found, u64::from_le_bytes(*stored), "the seal of {row}");
        })
    }

    /// Times of `take`, for rows that are prefetched one by one or in blocks, whichever is faster.
    fn time(
        &self,
        rows: &[RowId],
        batch: usize,
        out: &mut [u8],
        take: impl Fn((RowId, &[u8]), &mut [u8]),
    ) -> Latencies {
        let records = self.records(rows);
        let row_bytes = self.layout.row_bytes();
        let (mut one_by_one, mut in_blocks) = (Latencies::default(), Latencies::default());
        for records in records.chunks(batch) {
            one_by_one.time(|| {
                for (index, place) in out.chunks_exact_mut(row_bytes).enumerate() {
                    let Some(&record) = records.get(index) else {
                        break;
                    };
                    if let Some((_, next)) = records.get(index + AHEAD) {
                        prefetch(next);
                    }
                    take(record, place);
                }
            });
        }
        for records in records.chunks(batch) {
            in_blocks.time(|| {
                let blocks = records.chunks(BLOCK);
                let later = blocks.clone().skip(1).chain([&[][..]]);
                let first = &records[..records.len().min(BLOCK)];
                first.iter().for_each(|(_, record)| prefetch(record));
                let places = out.chunks_mut(BLOCK * row_bytes);
                for ((block, later), places) in blocks.zip(later).zip(places) {
                    later.iter().for_each(|(_, record)| prefetch(record));
                    for (&record, place) in block.iter().zip(places.chunks_exact_mut(row_bytes)) {
                        take(record, place);
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
