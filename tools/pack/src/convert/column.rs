//! Converts one column.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, anyhow};
use engram::{Batch, RowId, Store};
use engram_format::{EncodeError, RowCodec, ShardDigests};
use serde::{Deserialize, Serialize};

use super::fidelity::{ColumnFidelity, Measure};
use crate::{
    Progress, Stop,
    build::{ShardFile, ShardWriter},
};

/// Rows that are decoded, encoded and measured together, so that their values stay in the processor's caches.
const ROWS: usize = 32;

/// One column to be converted.
pub(super) struct ColumnJob<'a> {
    pub(super) store: &'a Store,
    /// How its rows are encoded in the store.
    pub(super) from: RowCodec,
    /// Where they go.
    pub(super) file: ShardFile,
    pub(super) stop: &'a Stop,
}

/// What was found while a shard was written, kept beside it until the pack is whole.
#[derive(Serialize, Deserialize)]
struct Measured {
    digests: ShardDigests,
    fidelity: ColumnFidelity,
}

/// A column that is there.
pub(super) struct Converted {
    pub(super) digests: ShardDigests,
    pub(super) fidelity: ColumnFidelity,
    /// Whether an earlier conversion had finished it.
    pub(super) resumed: bool,
}

impl ColumnJob<'_> {
    /// The column's largest magnitude.
    pub(super) fn largest(&self, progress: Progress<'_>) -> Result<f32> {
        let mut largest = 0.0_f32;
        let mut values = vec![0.0; ROWS * self.from.width()];
        self.each(progress, &mut |first, rows| {
            for (index, rows) in rows.chunks(ROWS * self.from.row_bytes()).enumerate() {
                let count = rows.len() / self.from.row_bytes();
                let values = &mut values[..count * self.from.width()];
                self.from.decode_f32(rows, values);
                if let Some(place) = values.iter().position(|value| !value.is_finite()) {
                    let (row, value) = (place / self.from.width(), place % self.from.width());
                    let found = values[place];
                    let fault = EncodeError::NotFinite { row, value, found };
                    return Err(self.fault(first + (ROWS * index) as u64, fault));
                }
                largest = values
                    .iter()
                    .fold(largest, |most, value| most.max(value.abs()));
            }
            Ok(())
        })?;
        Ok(largest)
    }

    /// Writes the shard, if it is not there, and measures its rows, if that has not been done.
    pub(super) fn run(&self, progress: Progress<'_>) -> Result<Converted> {
        let finished = self.file.finished()?;
        if let Some(digests) = finished
            && let Some(fidelity) = self.measured(digests)
        {
            progress(self.source_bytes());
            return Ok(Converted {
                digests,
                fidelity,
                resumed: true,
            });
        }
        // What was finished without being measured is encoded again, but not written.
        let mut shard = match finished {
            None => Some(self.file.create()?),
            Some(_) => None,
        };
        let fidelity = self.rows(&mut shard, progress)?;
        let digests = match (shard, finished) {
            (Some(shard), _) => shard.finish()?,
            (None, Some(digests)) => digests,
            (None, None) => unreachable!("a shard that is not there is written"),
        };
        self.keep(&Measured {
            digests,
            fidelity: fidelity.clone(),
        })?;
        Ok(Converted {
            digests,
            fidelity,
            resumed: finished.is_some(),
        })
    }

    /// Encodes the rows, to `shard` if there is one.
    fn rows(
        &self,
        shard: &mut Option<ShardWriter<'_>>,
        progress: Progress<'_>,
    ) -> Result<ColumnFidelity> {
        let (from, to) = (self.from, self.file.codec);
        let width = from.width();
        let mut measure = Measure::new();
        let (mut values, mut now) = (vec![0.0; ROWS * width], vec![0.0; ROWS * width]);
        let mut encoded = Vec::new();
        self.each(progress, &mut |first, rows| {
            let count = rows.len() / from.row_bytes();
            encoded.resize(count * to.row_bytes(), 0);
            let blocks = rows.chunks(ROWS * from.row_bytes());
            let firsts = (first..).step_by(ROWS);
            for ((first, rows), encoded) in firsts
                .zip(blocks)
                .zip(encoded.chunks_mut(ROWS * to.row_bytes()))
            {
                let count = rows.len() / from.row_bytes();
                if from == to {
                    // Whatever their values are, nothing is off.
                    encoded.copy_from_slice(rows);
                    (first..)
                        .take(count)
                        .for_each(|row| measure.add(row, &[], &[]));
                    continue;
                }
                let (values, now) = (&mut values[..count * width], &mut now[..count * width]);
                from.decode_f32(rows, values);
                let done = to.encode(values, encoded);
                done.map_err(|fault| self.fault(first, fault))?;
                to.decode_f32(encoded, now);
                let pairs = values.chunks_exact(width).zip(now.chunks_exact(width));
                for (row, (values, now)) in (first..).zip(pairs) {
                    measure.add(row, values, now);
                }
            }
            shard.as_mut().map_or(Ok(()), |shard| shard.write(&encoded))
        })?;
        Ok(measure.finish(self.file.layer, &self.file.column))
    }

    /// Calls `take` with the id of a row and the bytes of it and some that follow, until all were had; each is checked.
    fn each(
        &self,
        progress: Progress<'_>,
        take: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let column = self.file.column;
        let end = column.first_row + column.row_count;
        let (mut ids, mut rows) = (Vec::new(), Vec::new());
        let mut first = column.first_row;
        while first < end {
            self.stop.check()?;
            let next = end.min(first + self.file.chunk_rows() as u64);
            ids.clear();
            ids.extend((first..next).map(RowId));
            rows.resize(ids.len() * self.from.row_bytes(), 0);
            let batch = Batch::new(self.file.layer, &ids);
            self.store.lookup(batch, &mut rows)?;
            take(first, &rows)?;
            progress(rows.len() as u64);
            first = next;
        }
        Ok(())
    }

    /// Bytes of its rows in the store.
    pub(super) fn source_bytes(&self) -> u64 {
        self.file.column.row_count * self.from.row_bytes() as u64
    }

    /// Says where in the table something cannot be encoded, of rows of which the first has the id `first`.
    fn fault(&self, first: u64, fault: EncodeError) -> anyhow::Error {
        let (row, value, found, what) = match fault {
            EncodeError::NotFinite { row, value, found } => {
                (row, value, found, "expected a finite number")
            }
            EncodeError::TooLarge { row, value, found } => {
                (row, value, found, "which is too large for it")
            }
            fault => return fault.into(),
        };
        let column = self.file.column;
        anyhow!(
            "value {value} of row {} of layer {} (order {}, head {}) cannot be converted to {}: it is {found}, {what}",
            first + row as u64,
            self.file.layer,
            column.order,
            column.head,
            self.file.codec.name(),
        )
    }

    /// Where the measures of the shard are kept. Its name ends as those of files that a new start removes.
    fn measured_path(&self) -> PathBuf {
        self.file.path.with_extension("measured.partial")
    }

    /// What an earlier conversion has measured of the shard with these digests.
    fn measured(&self, digests: ShardDigests) -> Option<ColumnFidelity> {
        // Torn or missing, they are found again.
        let text = fs::read(self.measured_path()).ok()?;
        let measured: Measured = serde_json::from_slice(&text).ok()?;
        (measured.digests == digests).then_some(measured.fidelity)
    }

    fn keep(&self, measured: &Measured) -> Result<()> {
        let path = self.measured_path();
        let text = serde_json::to_vec(measured)?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes what [`Self::run`] has kept, once it is not needed any more.
    pub(super) fn clean_up(&self) -> Result<()> {
        let path = self.measured_path();
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }
}
