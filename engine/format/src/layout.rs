//! Where records lie in a shard (FORMAT.md, "Records and blocks").

use crate::{
    address::Divisor,
    extent::Extent,
    ids::{LayerId, RowId},
    seal::seal,
};

/// Bytes of a block: what a reader with direct I/O fetches.
pub const BLOCK_BYTES: usize = 4096;
/// Bytes of a shard header.
pub const HEADER_BYTES: usize = BLOCK_BYTES;
/// Bytes of a seal, at the end of each record.
pub const SEAL_BYTES: usize = 8;

const STRIDE_ALIGN: usize = 16;

/// The geometry of the records of one table.
///
/// Records lie in groups. A group is the fewest whole blocks that hold a record, filled with as many records as fit, so
/// a record that fits a block never crosses two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLayout {
    row_bytes: usize,
    stride: usize,
    group_bytes: usize,
    group_records: usize,
    by_group: Divisor,
}

impl RecordLayout {
    /// The layout of rows of `row_bytes` bytes.
    pub const fn new(row_bytes: usize) -> Self {
        let stride = (row_bytes + SEAL_BYTES).next_multiple_of(STRIDE_ALIGN);
        let group_bytes = stride.next_multiple_of(BLOCK_BYTES);
        let group_records = group_bytes / stride;
        Self {
            row_bytes,
            stride,
            group_bytes,
            group_records,
            by_group: Divisor::new(group_records as u64),
        }
    }

    /// Bytes of a row.
    pub const fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Bytes from one record to the next in a group: row, zero padding, seal.
    pub const fn stride(&self) -> usize {
        self.stride
    }

    /// Bytes of a group, a multiple of the block.
    pub const fn group_bytes(&self) -> usize {
        self.group_bytes
    }

    /// Records of a group.
    pub const fn group_records(&self) -> usize {
        self.group_records
    }

    /// Offset in the file of record `index` of a shard.
    #[inline]
    pub const fn record_offset(&self, index: u64) -> u64 {
        let (group, index_in_group) = self.by_group.div_rem(index);
        HEADER_BYTES as u64 + group * self.group_bytes as u64 + index_in_group * self.stride as u64
    }

    /// Where record `index` of the shard that is file `file` lies: row, padding and seal.
    #[inline]
    pub const fn extent(&self, file: u32, index: u64) -> Extent {
        Extent {
            file,
            offset: self.record_offset(index),
            len: self.stride,
        }
    }

    /// Bytes of a shard with `row_count` records, its header included.
    pub const fn shard_bytes(&self, row_count: u64) -> u64 {
        HEADER_BYTES as u64
            + row_count.div_ceil(self.group_records as u64) * self.group_bytes as u64
    }

    /// Lays `rows`, of which the first has the id `first` and begins a group, out as records with their seals in whole
    /// groups. They take the place of what `records` holds.
    pub fn lay_out(&self, layer: LayerId, first: RowId, rows: &[u8], records: &mut Vec<u8>) {
        let groups = (rows.len() / self.row_bytes).div_ceil(self.group_records);
        records.clear();
        records.resize(groups * self.group_bytes, 0);
        let slots = self.records_mut(records);
        for ((row, bytes), record) in (first.0..)
            .zip(rows.chunks_exact(self.row_bytes))
            .zip(slots)
        {
            record[..self.row_bytes].copy_from_slice(bytes);
            let seal = seal(layer, RowId(row), bytes).to_le_bytes();
            record[self.stride - SEAL_BYTES..].copy_from_slice(&seal);
        }
    }

    /// The records in whole `groups`, padding between groups left out. Those after the last row of a shard are zero.
    pub fn records<'a>(&self, groups: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let (stride, most) = (self.stride, self.group_records);
        let groups = groups.chunks_exact(self.group_bytes);
        groups.flat_map(move |group| group.chunks_exact(stride).take(most))
    }

    fn records_mut<'a>(&self, groups: &'a mut [u8]) -> impl Iterator<Item = &'a mut [u8]> {
        let (stride, most) = (self.stride, self.group_records);
        let groups = groups.chunks_exact_mut(self.group_bytes);
        groups.flat_map(move |group| group.chunks_exact_mut(stride).take(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_v41_block_holds_fifteen_records() {
        let layout = RecordLayout::new(264);
        assert_eq!((layout.stride(), layout.group_records()), (272, 15));
        assert_eq!(layout.record_offset(0), 4096);
        assert_eq!(layout.record_offset(14), 4096 + 14 * 272);
        assert_eq!(layout.record_offset(15), 8192);
        assert_eq!(layout.shard_bytes(16), 3 * 4096);
    }

    #[test]
    fn no_record_crosses_a_block_it_fits() {
        for row_bytes in 1..=BLOCK_BYTES - SEAL_BYTES {
            let layout = RecordLayout::new(row_bytes);
            assert_eq!(layout.group_bytes(), BLOCK_BYTES);
            for index in [0, 1, 7, 500] {
                let start = layout.record_offset(index);
                let end = start + layout.stride() as u64 - 1;
                assert_eq!(
                    start / BLOCK_BYTES as u64,
                    end / BLOCK_BYTES as u64,
                    "{row_bytes}"
                );
            }
        }
    }

    #[test]
    fn long_rows_take_whole_blocks() {
        let layout = RecordLayout::new(17_920);
        assert_eq!(
            (layout.group_records(), layout.group_bytes()),
            (1, 5 * BLOCK_BYTES)
        );
        assert_eq!(layout.record_offset(2), 4096 + 2 * 5 * 4096);
    }
}
