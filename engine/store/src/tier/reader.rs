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

    /// Copies the bytes of `row`, whose first part `reader` has at `first`, to `out`.
    fn copy(
        &self,
        row: &RowRef,
        reader: &dyn ReadAt,
        first: Extent,
        check: bool,
        out: &mut [u8],
    ) -> Result<(), LookupError> {
        let source = &self.source;
        if let SourceRows::Attached { planes } = &source.rows {
            let mut rest = out;
            for plane in planes {
                let extent = plane.extent(row.row_id);
                let (part, after) = rest.split_at_mut(extent.len);
                let reader = self
                    .reader(&extent)
                    .expect("all files of a checkpoint are open");
                let read = reader.read_at(extent.offset, part);
                read.map_err(|cause| source.unread(vec![row.row_id], cause))?;
                rest = after;
            }
            return Ok(());
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
        serve_located(
            wanted.list(),
            |row| {
                let extent = self.source.extent(row, 0);
                self.reader(&extent).map(|reader| (reader, extent))
            },
            |(reader, extent)| reader.prefetch(extent.offset, extent.len),
            |row, (reader, extent)| self.copy(row, reader, extent, check, out.row(row)),
        )
    }
}

impl Tier for ReaderTier {
    fn serve(&self, wanted: &mut Wanted<'_>, out: &mut RowsMut<'_>) -> Result<(), LookupError> {
        self.serve_checked(wanted, out, self.source.check_seals)
    }
}
