//! Files that are read while the caller waits.

use std::sync::Arc;

use engram_format::{Extent, SEAL_BYTES, seal};
use engram_io::ReadAt;

use super::{Tier, located::serve_located};
use crate::{
    error::LookupError,
    output::RowsMut,
    resolve::{RowRef, Wanted},
    source::{Source, SourceRows},
};

/// Files of one table that are mapped, or read with a system call a row.
#[derive(Debug)]
pub(crate) struct ReaderTier {
    source: Arc<Source>,
    /// By [`Extent::file`]; none for those that are read in another way.
    readers: Arc<[Option<Box<dyn ReadAt>>]>,
}

impl ReaderTier {
    pub(crate) fn new(source: Arc<Source>, readers: Arc<[Option<Box<dyn ReadAt>>]>) -> Self {
        Self { source, readers }
    }

    /// The memory that the file of `column` is mapped to, if it is.
    pub(crate) fn memory(&self, column: usize) -> Option<(*const u8, usize)> {
        let SourceRows::Sealed { first_file, .. } = self.source.rows else {
            return None;
        };
        let reader = self.readers[first_file as usize + column].as_ref()?;
        reader.memory()
    }

    fn reader(&self, extent: &Extent) -> Option<&dyn ReadAt> {
        self.readers[extent.file as usize].as_deref()
    }

    /// Copies the bytes of `row`, whose first part `reader` has at `first`, to `out`. Of an attached pack, marks the
    /// files that were read in `read_files`.
    fn copy(
        &self,
        row: &RowRef,
        reader: &dyn ReadAt,
        first: Extent,
        check: bool,
        out: &mut [u8],
        read_files: &mut [[u32; 2]],
    ) -> Result<(), LookupError> {
        let source = &self.source;
        if let SourceRows::Attached { .. } = &source.rows {
            let reader = |extent: &Extent| {
                read_files[extent.file as usize] = [1; 2];
                self.reader(extent)
                    .expect("all files of a checkpoint are open")
            };
            let read = source.read_parts(row, reader, out);
            return read.map_err(|cause| source.unread(vec![row.row_id], cause));
        }
        if !check {
            let read = reader.read_at(first.offset, out);
            return read.map_err(|cause| source.unread(vec![row.row_id], cause));
        }
        let mut stored = [0; SEAL_BYTES];
        let padding = first.len - SEAL_BYTES - out.len();
        let read = reader.read_split_at(first.offset, out, padding, &mut stored);
        read.map_err(|cause| source.unread(vec![row.row_id], cause))?;
        let found = seal(source.layer, row.row_id, out);
        source.compare(row, found, u64::from_le_bytes(stored))
    }

    /// As [`Tier::serve`], with the choice whether seals are checked.
    pub(crate) fn serve_checked(
        &self,
        wanted: &mut Wanted<'_>,
        out: &mut RowsMut<'_>,
        check: bool,
    ) -> Result<(), LookupError> {
        let (rows, read_files) = wanted.list_and_counts();
        read_files.clear();
        if let SourceRows::Attached { .. } = self.source.rows {
            read_files.resize(self.readers.len(), [0; 2]);
        }
        serve_located(
            rows,
            |row| {
                let extent = self.source.extent(row, 0);
                self.reader(&extent).map(|reader| (reader, extent))
            },
            |(reader, extent)| reader.prefetch(extent.offset, extent.len),
            |row, (reader, extent)| self.copy(row, reader, extent, check, out.row(row), read_files),
        )?;
        // Once they have been read: what was right then is right.
        let read_files = (0..).zip(&*read_files).filter(|(_, read)| **read != [0; 2]);
        read_files
            .map(|(file, _)| file)
            .try_for_each(|file| self.source.check_file(file))
    }
}

impl Tier for ReaderTier {
    fn serve(&self, wanted: &mut Wanted<'_>, out: &mut RowsMut<'_>) -> Result<(), LookupError> {
        self.serve_checked(wanted, out, self.source.check_seals)
    }
}
