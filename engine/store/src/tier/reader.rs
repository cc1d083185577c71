//! Files that are read while the caller waits.

use std::{fs::File, os::unix::fs::FileExt, path::Path, sync::Arc};

use engram_format::{Extent, SEAL_BYTES, seal};
use engram_io::ReadAt;

use super::{Tier, located::serve_located};
use crate::{
    error::LookupError,
    output::RowsMut,
    resolve::{RowRef, Wanted},
    shared_copy::SharedCopy,
    source::{Source, SourceRows},
};

/// A file that is read while the caller waits.
#[derive(Debug)]
pub(crate) struct TierFile {
    pub(crate) reader: Box<dyn ReadAt>,
    /// Where the file is a copy that processes share.
    pub(crate) copy: Option<SharedCopy>,
}

/// Files of one table that are mapped, or read with a system call a row.
#[derive(Debug)]
pub(crate) struct ReaderTier {
    source: Arc<Source>,
    /// By [`Extent::file`]; none for those that are read in another way.
    files: Arc<[Option<TierFile>]>,
}

impl ReaderTier {
    pub(crate) fn new(source: Arc<Source>, files: Arc<[Option<TierFile>]>) -> Self {
        Self { source, files }
    }

    /// The memory that the file of `column` is mapped to, if it is.
    pub(crate) fn memory(&self, column: usize) -> Option<(*const u8, usize)> {
        let SourceRows::Sealed { first_file, .. } = self.source.rows else {
            return None;
        };
        let file = self.files[first_file as usize + column].as_ref()?;
        file.reader.memory()
    }

    fn reader(&self, extent: &Extent) -> Option<&dyn ReadAt> {
        let file = self.files[extent.file as usize].as_ref()?;
        Some(&*file.reader)
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
        let compared = source.compare(row, found, u64::from_le_bytes(stored));
        compared.map_err(|damaged| self.in_copy(row, first, damaged))
    }

    /// The error `damaged` of a `row` that lies at `extent`. A shared copy that is to blame is removed, so that whoever
    /// opens the pack next makes it anew.
    #[cold]
    fn in_copy(&self, row: &RowRef, extent: Extent, damaged: LookupError) -> LookupError {
        let file = self.files[extent.file as usize].as_ref();
        let copy = file.and_then(|file| file.copy.as_ref());
        match (copy, damaged) {
            (
                Some(copy),
                LookupError::Damaged {
                    path: shard,
                    layer,
                    row: row_id,
                    offset,
                    found,
                    expected,
                },
            ) if self.is_right(row, extent, &shard) => LookupError::DamagedCopy {
                path: copy.path().into(),
                shard,
                layer,
                row: row_id,
                offset,
                found,
                expected,
                kept: copy.remove().err(),
            },
            (_, damaged) => damaged,
        }
    }

    /// Whether the file at `path` has the right record of `row` at `extent`.
    fn is_right(&self, row: &RowRef, extent: Extent, path: &Path) -> bool {
        let mut record = vec![0; extent.len];
        let read = File::open(path).and_then(|file| file.read_exact_at(&mut record, extent.offset));
        let stored = record.last_chunk().copied().map(u64::from_le_bytes);
        let bytes = &record[..self.source.parts()[0]];
        read.is_ok() && stored == Some(seal(self.source.layer, row.row_id, bytes))
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
            read_files.resize(self.files.len(), [0; 2]);
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
