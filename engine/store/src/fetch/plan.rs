//! Which blocks to read for which rows.

use engram_format::RowId;
use engram_io::BlockRead;

use super::DiskRows;

/// A row that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Want {
    pub(crate) row: RowId,
    /// Its place in the batch.
    pub(crate) index: u32,
    /// Its row of the buffer; equal wants may share one.
    pub(crate) slot: u32,
}

/// One read and the wants that it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) block: BlockRead,
    pub(crate) part: u8,
    pub(crate) first_want: u32,
    pub(crate) want_count: u32,
}

/// The reads of a batch: each row once, neighbours together, in the order of files and offsets.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Sorted by row.
    pub(crate) wants: Vec<Want>,
    pub(crate) reads: Vec<Read>,
    /// Rows asked for and found in the cache, of each column.
    pub(crate) counts: Vec<[u32; 2]>,
}

impl Plan {
    /// Forgets everything but the memory.
    pub(crate) fn clear(&mut self) {
        self.wants.clear();
        self.reads.clear();
        self.counts.clear();
    }

    /// Gives equal rows the same slot, from 0 on, and returns how many there are. For sorted wants.
    pub(crate) fn share_slots(&mut self) -> usize {
        let mut slots = 0;
        let mut last = None;
        for want in &mut self.wants {
            if last.replace(want.row) != Some(want.row) {
                slots += 1;
            }
            want.slot = slots - 1;
        }
        slots as usize
    }

    /// Sorts the wants and plans their reads from `rows`, in pieces of up to `slot_bytes`.
    pub(crate) fn make_reads(&mut self, rows: &DiskRows, slot_bytes: usize) {
        self.wants.sort_unstable();
        for part in 0..rows.part_count() {
            let mut current: Option<Read> = None;
            for (index, want) in (0..).zip(&self.wants) {
                let place = rows.place(want.row, part.into());
                let unit = u64::from(rows.files[place.file as usize].unit());
                let end = place.offset + place.len as u64;
                let first = place.offset - place.offset % unit;
                if let Some(read) = &mut current {
                    let block = &mut read.block;
                    let reach = end
                        .next_multiple_of(unit)
                        .max(block.offset + u64::from(block.len));
                    let adjoins = block.file == place.file
                        && (block.offset..=block.offset + u64::from(block.len)).contains(&first);
                    if adjoins && reach - block.offset <= slot_bytes as u64 {
                        block.len = narrow(reach - block.offset);
                        block.needed = block.needed.max(narrow(end - block.offset));
                        read.want_count += 1;
                        continue;
                    }
                }
                self.reads.extend(current.replace(Read {
                    block: BlockRead {
                        file: place.file,
                        offset: first,
                        len: narrow(end.next_multiple_of(unit) - first),
                        needed: narrow(end - first),
                    },
                    part,
                    first_want: index,
                    want_count: 1,
                }));
            }
            self.reads.extend(current);
        }
    }
}

fn narrow(bytes: u64) -> u32 {
    u32::try_from(bytes).expect("a read is at most a slot")
}
