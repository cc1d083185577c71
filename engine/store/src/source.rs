//! Where the bytes of one table's rows lie, and whether they are the right ones.

use std::{path::PathBuf, sync::Arc};

use engram_format::{Column, Extent, LayerId, Plane, RecordLayout, RowId, SEAL_BYTES, seal};
use engram_io::{IoError, ReadAt};

use crate::{error::LookupError, resolve::RowRef, watch::Watch};

/// The rows of one table in the files of its pack.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) layer: LayerId,
    /// Whether each row is compared with its seal, where it has one.
    pub(crate) check_seals: bool,
    pub(crate) rows: SourceRows,
    /// All files of the pack, in the order of [`Extent::file`].
    pub(crate) paths: Arc<[PathBuf]>,
    /// The drive of each of them, where there are several.
    pub(crate) drives: Arc<[u32]>,
    /// Of files whose rows have no seals, and which are read after the pack was opened.
    pub(crate) watch: Option<Watch>,
}

#[derive(Debug)]
pub(crate) enum SourceRows {
    /// A record with a seal for each row, in the shard of its column.
    Sealed {
        layout: RecordLayout,
        columns: Arc<[Column]>,
        /// The file of the first column; the others follow.
        first_file: u32,
    },
    /// A part from each plane, in the tensors of a checkpoint.
    Attached { planes: Vec<Plane> },
}

impl Source {
    /// Bytes of the parts that a row is read in; the second may be 0.
    pub(crate) fn parts(&self) -> [usize; 2] {
        match &self.rows {
            SourceRows::Sealed { layout, .. } => [layout.row_bytes(), 0],
            SourceRows::Attached { planes } => {
                let bytes = |plane: &Plane| {
                    usize::try_from(plane.row_bytes).expect("memory holds a part of a row")
                };
                [bytes(&planes[0]), planes.get(1).map_or(0, bytes)]
            }
        }
    }

    /// Parts that a row is read in.
    pub(crate) fn part_count(&self) -> usize {
        if self.parts()[1] == 0 { 1 } else { 2 }
    }

    /// Bytes of the longest part, with its seal.
    pub(crate) fn longest_part(&self) -> usize {
        match &self.rows {
            SourceRows::Sealed { layout, .. } => layout.stride(),
            SourceRows::Attached { .. } => self.parts()[0].max(self.parts()[1]),
        }
    }

    /// Where part `part` of `row` lies, with its seal where it has one.
    #[inline]
    pub(crate) fn extent(&self, row: &RowRef, part: usize) -> Extent {
        match &self.rows {
            SourceRows::Sealed {
                layout,
                columns,
                first_file,
            } => {
                let first_row = columns[usize::from(row.column)].first_row;
                layout.extent(first_file + u32::from(row.column), row.row_id.0 - first_row)
            }
            SourceRows::Attached { planes } => planes[part].extent(row.row_id),
        }
    }

    /// Copies the parts of `row`, which has no seal, to `out`, each from what `reader` gives for its place.
    ///
    /// # Errors
    /// A read that fails.
    pub(crate) fn read_parts<'a>(
        &self,
        row: &RowRef,
        mut reader: impl FnMut(&Extent) -> &'a dyn ReadAt,
        out: &mut [u8],
    ) -> Result<(), IoError> {
        let mut rest = out;
        for part in 0..self.part_count() {
            let extent = self.extent(row, part);
            let (bytes, after) = rest.split_at_mut(extent.len);
            reader(&extent).read_at(extent.offset, bytes)?;
            rest = after;
        }
        Ok(())
    }

    /// Checks that nothing has been found that makes all rows of the table doubtful.
    ///
    /// # Errors
    /// A file that has changed since the pack was opened.
    #[inline]
    pub(crate) fn check_seen(&self) -> Result<(), LookupError> {
        self.watch.as_ref().map_or(Ok(()), Watch::check_seen)
    }

    /// Checks that bytes which were read from the file `file` are those of when the pack was opened, where only the
    /// system can tell.
    ///
    /// # Errors
    /// As [`Self::check_seen`].
    pub(crate) fn check_file(&self, file: u32) -> Result<(), LookupError> {
        let watch = self.watch.as_ref();
        watch.map_or(Ok(()), |watch| watch.check_file(file))
    }

    /// Part `part` of `row` without its seal, from the bytes `record` of its extent, and the seal if it has
    /// one.
    ///
    /// # Errors
    /// A seal that is not that of the bytes.
    pub(crate) fn open_record<'a>(
        &self,
        row: &RowRef,
        part: usize,
        record: &'a [u8],
    ) -> Result<(&'a [u8], Option<u64>), LookupError> {
        let bytes = &record[..self.parts()[part]];
        let stored = match &self.rows {
            SourceRows::Sealed { .. } => record.last_chunk::<SEAL_BYTES>(),
            SourceRows::Attached { .. } => None,
        };
        let stored = stored.map(|stored| u64::from_le_bytes(*stored));
        if let Some(expected) = stored
            && self.check_seals
        {
            self.compare(row, seal(self.layer, row.row_id, bytes), expected)?;
        }
        Ok((bytes, stored))
    }

    /// Compares the seal of the bytes of `row` with the one that is stored.
    ///
    /// # Errors
    /// Seals that differ.
    #[inline]
    pub(crate) fn compare(
        &self,
        row: &RowRef,
        found: u64,
        expected: u64,
    ) -> Result<(), LookupError> {
        if found == expected {
            Ok(())
        } else {
            Err(self.damaged(row, found, expected))
        }
    }

    #[cold]
    fn damaged(&self, row: &RowRef, found: u64, expected: u64) -> LookupError {
        let extent = self.extent(row, 0);
        LookupError::Damaged {
            path: self.paths[extent.file as usize].clone(),
            layer: self.layer,
            row: row.row_id,
            offset: extent.offset,
            found,
            expected,
        }
    }

    /// The rows `rows` that could not be read.
    pub(crate) fn unread(&self, rows: Vec<RowId>, cause: IoError) -> LookupError {
        let layer = self.layer;
        match cause {
            IoError::Damaged {
                path,
                offset,
                cause,
            } => LookupError::DamagedFrame {
                path,
                layer,
                offset,
                cause,
            },
            cause => LookupError::Unread { layer, rows, cause },
        }
    }
}
