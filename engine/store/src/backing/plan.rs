//! Which blocks to read for which rows.

use engram_format::Extent;
use engram_io::BlockRead;

use crate::{resolve::RowRef, source::Source};

/// The reads that a backing takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadGeometry {
    /// For each file, what offsets and lengths of reads are multiples of, in bytes.
    pub units: Vec<u32>,
    /// Most bytes of one read: neighbouring rows are read together up to this. At least the longest row and
    /// a unit.
    pub max_bytes: usize,
}

/// One read, and which of the wanted rows it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) block: BlockRead,
    /// The part of each row that it brings.
    pub(crate) part: u8,
    pub(crate) first_row: u32,
    pub(crate) row_count: u32,
}

/// The reads of a batch: each row once, neighbours together, in the order of drives, files and offsets.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The wanted rows; sorted by row once the reads are made.
    pub(crate) rows: Vec<RowRef>,
    pub(crate) reads: Vec<Read>,
}

impl Plan {
    /// Forgets everything but the memory.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.reads.clear();
    }

    /// Sorts the rows and plans their reads.
    pub(crate) fn make_reads(&mut self, source: &Source, geometry: &ReadGeometry) {
        self.rows.sort_unstable();
        for part in 0..source.part_count() {
            let mut current: Option<Read> = None;
            for (index, row) in (0..).zip(&self.rows) {
                let extent = source.extent(row, part);
                let unit = u64::from(geometry.units[extent.file as usize]);
                if let Some(read) = &mut current
                    && read.extend(&extent, unit, geometry.max_bytes)
                {
                    continue;
                }
                let read = Read::new(&extent, unit, u8::try_from(part).expect("0 or 1"), index);
                self.reads.extend(current.replace(read));
            }
            self.reads.extend(current);
        }
        if source.drives.is_empty() {
            return;
        }
        let place = |read: &Read| (read.part, read.block.file, read.block.offset);
        let drive = |read: &Read| source.drives[read.block.file as usize];
        self.reads
            .sort_unstable_by_key(|read| (drive(read), place(read)));
    }
}

impl Read {
    /// The whole units around `extent`.
    fn new(extent: &Extent, unit: u64, part: u8, first_row: u32) -> Self {
        let first = extent.offset - extent.offset % unit;
        let end = extent.offset + extent.len as u64;
        Self {
            block: BlockRead {
                file: extent.file,
                offset: first,
                len: narrow(end.next_multiple_of(unit) - first),
                needed: narrow(end - first),
            },
            part,
            first_row,
            row_count: 1,
        }
    }

    /// Takes `extent` in too, if it adjoins and all stays within `max_bytes`.
    fn extend(&mut self, extent: &Extent, unit: u64, max_bytes: usize) -> bool {
        let block = &mut self.block;
        let read_end = block.offset + u64::from(block.len);
        let first = extent.offset - extent.offset % unit;
        let end = extent.offset + extent.len as u64;
        let reach = end.next_multiple_of(unit).max(read_end);
        let adjoins = block.file == extent.file && (block.offset..=read_end).contains(&first);
        if !adjoins || reach - block.offset > max_bytes as u64 {
            return false;
        }
        block.len = narrow(reach - block.offset);
        block.needed = block.needed.max(narrow(end - block.offset));
        self.row_count += 1;
        true
    }

    /// The wanted rows that it serves, as a range of the sorted list.
    pub(crate) fn rows(&self) -> std::ops::Range<usize> {
        self.first_row as usize..(self.first_row + self.row_count) as usize
    }
}

fn narrow(bytes: u64) -> u32 {
    u32::try_from(bytes).expect("a read is of some KiB")
}
