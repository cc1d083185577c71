//! Freezes one column.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use engram_cold::{Encoder, train};
use engram_format::{ColdColumn, ColdShard, Digest, HEADER_BYTES};
use engram_io::{NewFile, PreadReader, ReadAt};

use super::{FreezeOptions, packed::PackedShard};
use crate::Progress;

/// Frames of a column that are tried out, spread evenly over it, and the most bytes of all of them if they are more
/// than one.
const SAMPLES: u64 = 64;
const SAMPLE_BYTES: u64 = 8 << 20;
/// Bytes of frames that are written at a time.
const WRITTEN_BYTES: usize = 2 << 20;

/// One column to be frozen.
pub(super) struct ColumnJob<'a> {
    pub(super) column: ColdColumn,
    /// The packed shard.
    pub(super) from: PathBuf,
    /// Final path of the cold one.
    pub(super) to: PathBuf,
    pub(super) options: &'a FreezeOptions,
}

/// What is known before the work.
pub(super) enum Trial {
    /// An earlier run has done it.
    Finished(ColdShard),
    Missing {
        dictionary: Vec<u8>,
        /// What it will take, as far as some frames tell.
        cold_bytes: u64,
    },
}

impl ColumnJob<'_> {
    /// Finds whether an earlier run has frozen it, and else whether a dictionary pays.
    pub(super) fn try_out(&self) -> Result<Trial> {
        self.options.stop.check()?;
        if let Some(shard) = self.finished()? {
            return Ok(Trial::Finished(shard));
        }
        let mut packed = PackedShard::open(&self.from, self.column)?;
        let (frames, mut samples) = (self.column.frames(), Vec::new());
        let fitting = (SAMPLE_BYTES / self.column.frame_bytes()).max(1);
        let count = frames.min(SAMPLES).min(fitting);
        for sample in 0..count {
            samples.push(packed.read(sample * frames / count)?.rows.to_vec());
        }
        let (dictionary, [compressed, of]) = train(&samples, frames, self.options.level);
        let rows = self.row_bytes();
        let compressed = u128::from(rows) * u128::from(compressed) / u128::from(of.max(1));
        let mut column = self.column;
        column.shard.dictionary_bytes = u32::try_from(dictionary.len())?;
        Ok(Trial::Missing {
            dictionary,
            cold_bytes: column.first_frame() + u64::try_from(compressed)?,
        })
    }

    /// The cold shard, where an earlier run has finished it. It got its name only once it was whole and on the drive,
    /// so its header tells.
    fn finished(&self) -> Result<Option<ColdShard>> {
        let path = &self.to;
        if !path.exists() {
            return Ok(None);
        }
        let context = || {
            format!(
                "{} is no shard of this cold pack; remove it",
                path.display()
            )
        };
        let reader = PreadReader::open(path)?;
        let mut block = [0; HEADER_BYTES];
        reader.read_at(0, &mut block).with_context(context)?;
        let found = self.column.adopt(&block).with_context(context)?.shard;
        let size = reader.size();
        let expected = found.bytes;
        ensure!(
            size == expected,
            "{}: size is {size} bytes, expected {expected}; remove it",
            path.display()
        );
        Ok(Some(found))
    }

    fn row_bytes(&self) -> u64 {
        let header = &self.column.header;
        header.column.row_count * u64::from(header.row_bytes)
    }

    fn packed_bytes(&self) -> u64 {
        let rows = self.column.header.column.row_count;
        self.column.layout().shard_bytes(rows)
    }

    /// Freezes it, if `trial` does not say that it is.
    pub(super) fn run(&self, trial: &Trial, progress: Progress<'_>) -> Result<ColdShard> {
        let dictionary = match trial {
            Trial::Finished(shard) => {
                progress(self.packed_bytes());
                return Ok(*shard);
            }
            Trial::Missing { dictionary, .. } => dictionary,
        };
        let mut column = self.column;
        column.shard.dictionary_bytes = u32::try_from(dictionary.len())?;
        let mut packed = PackedShard::open(&self.from, column)?;
        let mut encoder = Encoder::new(self.options.level, dictionary);
        // How large it becomes shows at the end, so nothing is reserved.
        let mut file = NewFile::create(&self.to, 0)?;
        let first = column.first_frame();
        file.write(&vec![0; usize::try_from(first)?])?;
        progress(HEADER_BYTES as u64);
        let mut places = Vec::with_capacity(usize::try_from(column.frames())?);
        let mut written = Vec::new();
        let mut end = first;
        for frame in 0..column.frames() {
            self.options.stop.check()?;
            let read = packed.read_next(frame)?;
            let bytes = encoder.encode(read.rows);
            places.push(Encoder::place(end, bytes, read.seals));
            written.extend_from_slice(bytes);
            end += bytes.len() as u64;
            if written.len() >= WRITTEN_BYTES || frame + 1 == column.frames() {
                file.write(&written)?;
                written.clear();
            }
            progress(packed.frame_bytes());
        }
        packed.check_digests()?;
        let head = column.encode_head(dictionary, &places);
        column.shard.bytes = end;
        column.shard.digest = Digest::of(&head);
        file.overwrite(HEADER_BYTES as u64, &head)?;
        file.overwrite(0, &column.encode_header())?;
        file.publish()?;
        Ok(column.shard)
    }
}
