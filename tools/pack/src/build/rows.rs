//! The rows of a range, read from a checkpoint's tensors from front to back.

use anyhow::Result;
use engram_checkpoint::{Checkpoint, SourceTable};
use engram_format::{Plane, RowId};
use engram_io::{PreadReader, ReadAt};

/// Reads consecutive rows of one table, a buffer at a time.
pub(crate) struct RowStream<'a> {
    table: &'a SourceTable,
    files: Vec<PreadReader>,
    next_row: u64,
    /// Bytes of one plane of the rows being read.
    part: Vec<u8>,
}

impl<'a> RowStream<'a> {
    /// Rows of `table` from `first_row` on.
    ///
    /// # Errors
    /// A source that cannot be opened.
    pub(crate) fn new(
        checkpoint: &Checkpoint,
        table: &'a SourceTable,
        first_row: u64,
    ) -> Result<Self> {
        let sources = checkpoint.sources.iter();
        let files =
            sources.map(|file| PreadReader::open_sequential(&checkpoint.folder.join(&file.name)));
        Ok(Self {
            table,
            files: files.collect::<Result<_, _>>()?,
            next_row: first_row,
            part: Vec::new(),
        })
    }

    /// Goes on at `row`.
    pub(crate) fn seek(&mut self, row: u64) {
        self.next_row = row;
    }

    /// Fills `out` with the next whole rows.
    ///
    /// # Errors
    /// A failed read.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> Result<()> {
        let row_bytes = self.table.codec.row_bytes();
        let rows = out.len() / row_bytes;
        if let [plane] = self.table.planes.as_slice() {
            read_plane(plane, &self.files, self.next_row, out)?;
        } else {
            let mut start = 0;
            for plane in &self.table.planes {
                let part_bytes = usize::try_from(plane.row_bytes)?;
                self.part.resize(rows * part_bytes, 0);
                read_plane(plane, &self.files, self.next_row, &mut self.part)?;
                for (row, part) in out
                    .chunks_exact_mut(row_bytes)
                    .zip(self.part.chunks_exact(part_bytes))
                {
                    row[start..start + part_bytes].copy_from_slice(part);
                }
                start += part_bytes;
            }
        }
        self.next_row += rows as u64;
        Ok(())
    }
}

/// Reads the bytes of consecutive rows of one plane, which may cross from tensor to tensor.
fn read_plane(
    plane: &Plane,
    files: &[PreadReader],
    mut row: u64,
    mut out: &mut [u8],
) -> Result<()> {
    while !out.is_empty() {
        let (extent, rows) = plane.extent_of_rows(RowId(row), out.len() as u64 / plane.row_bytes);
        let (now, rest) = out.split_at_mut(extent.len);
        files[extent.file as usize].read_at(extent.offset, now)?;
        out = rest;
        row += rows;
    }
    Ok(())
}
