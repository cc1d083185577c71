//! The rows of a range, read from a checkpoint's tensors from front to back.

use anyhow::Result;
use engram_checkpoint::{Checkpoint, SourceTable};
use engram_format::{Plane, RowId};
use engram_io::{PreadReader, ReadAt};

/// Reads consecutive rows of one table, a buffer at a time.
///
/// Of each plane one file is open at a time, so that a checkpoint may have any number of files and a build any number
/// of jobs.
pub(crate) struct RowStream<'a> {
    table: &'a SourceTable,
    planes: Vec<PlaneStream<'a>>,
    next_row: u64,
    /// Bytes of one plane of the rows being read.
    part: Vec<u8>,
}

impl<'a> RowStream<'a> {
    /// Rows of `table` from `first_row` on.
    pub(crate) fn new(checkpoint: &'a Checkpoint, table: &'a SourceTable, first_row: u64) -> Self {
        let planes = table.planes.iter().map(|plane| PlaneStream {
            checkpoint,
            plane,
            open: None,
        });
        Self {
            table,
            planes: planes.collect(),
            next_row: first_row,
            part: Vec::new(),
        }
    }

    /// Goes on at `row`.
    pub(crate) fn seek(&mut self, row: u64) {
        self.next_row = row;
    }

    /// Fills `out` with the next whole rows.
    ///
    /// # Errors
    /// A source that cannot be opened, or a failed read.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> Result<()> {
        let row_bytes = self.table.codec.row_bytes();
        let rows = out.len() / row_bytes;
        if let [plane] = self.planes.as_mut_slice() {
            plane.read(self.next_row, out)?;
        } else {
            let mut start = 0;
            for plane in &mut self.planes {
                let part_bytes = usize::try_from(plane.plane.row_bytes)?;
                self.part.resize(rows * part_bytes, 0);
                plane.read(self.next_row, &mut self.part)?;
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

/// Reads one plane.
struct PlaneStream<'a> {
    checkpoint: &'a Checkpoint,
    plane: &'a Plane,
    /// The file that was read last, and its index among the sources.
    open: Option<(u32, PreadReader)>,
}

impl PlaneStream<'_> {
    /// Reads the bytes of consecutive rows, which may cross from tensor to tensor.
    fn read(&mut self, mut row: u64, mut out: &mut [u8]) -> Result<()> {
        while !out.is_empty() {
            let most = out.len() as u64 / self.plane.row_bytes;
            let (extent, rows) = self.plane.extent_of_rows(RowId(row), most);
            let (now, rest) = out.split_at_mut(extent.len);
            self.source(extent.file)?.read_at(extent.offset, now)?;
            out = rest;
            row += rows;
        }
        Ok(())
    }

    fn source(&mut self, index: u32) -> Result<&PreadReader> {
        let reader = match self.open.take() {
            Some((open, reader)) if open == index => reader,
            _ => {
                let file = &self.checkpoint.sources[index as usize];
                PreadReader::open_sequential(&self.checkpoint.folder.join(&file.name))?
            }
        };
        let (_, reader) = self.open.insert((index, reader));
        Ok(reader)
    }
}
