//! The rows of a packed shard, a frame at a time.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use engram_format::{ColdColumn, Digester, HEADER_BYTES, RowId, ShardDigests, seals_digest};
use engram_io::{PreadReader, ReadAt};

/// A packed shard that is read.
pub(super) struct PackedShard {
    path: PathBuf,
    reader: PreadReader,
    column: ColdColumn,
    groups: Vec<u8>,
    rows: Vec<u8>,
    again: Vec<u8>,
    of_data: Digester,
    of_rows: Digester,
}

/// The rows of a frame, and the digest of their seals.
pub(super) struct FrameRows<'a> {
    pub(super) rows: &'a [u8],
    pub(super) seals: u64,
}

impl PackedShard {
    /// Opens the shard at `path` of what is to become `column`.
    pub(super) fn open(path: &Path, column: ColdColumn) -> Result<Self> {
        let reader = PreadReader::open_sequential(path)?;
        let context = || path.display().to_string();
        let (found, header) = (reader.size(), column.header);
        let expected = column.layout().shard_bytes(header.column.row_count);
        ensure!(
            found == expected,
            "{}: size is {found} bytes, expected {expected}",
            path.display()
        );
        let mut block = [0; HEADER_BYTES];
        reader.read_at(0, &mut block)?;
        header.check(&block).with_context(context)?;
        Ok(Self {
            path: path.into(),
            reader,
            column,
            groups: Vec::new(),
            rows: Vec::new(),
            again: Vec::new(),
            of_data: Digester::new(),
            of_rows: Digester::new(),
        })
    }

    /// Reads the rows of a frame, and checks that a packed shard could be made of them again, to the bit.
    pub(super) fn read(&mut self, frame: u64) -> Result<FrameRows<'_>> {
        let layout = self.column.layout();
        let count = usize::try_from(self.column.rows_of(frame))?;
        let first = frame * self.column.frame_rows;
        let groups = count.div_ceil(layout.group_records());
        self.groups.resize(groups * layout.group_bytes(), 0);
        self.reader
            .read_at(layout.record_offset(first), &mut self.groups)?;
        self.rows.clear();
        for record in layout.records(&self.groups).take(count) {
            self.rows.extend(&record[..layout.row_bytes()]);
        }
        let header = self.column.header;
        let first = RowId(header.column.first_row + first);
        layout.lay_out(header.layer, first, &self.rows, &mut self.again);
        if self.again != self.groups {
            let records = layout
                .records(&self.again)
                .zip(layout.records(&self.groups));
            let damaged = (first.0..).zip(records).take(count);
            let row = damaged
                .filter(|(_, (right, found))| right != found)
                .map(|(row, _)| format!("row {row}"))
                .next();
            bail!(
                "{}: {} of layer {} is damaged, so nothing of the pack is frozen; run `engram-pack verify`",
                self.path.display(),
                row.unwrap_or_else(|| format!("padding after row {first}")),
                header.layer
            );
        }
        Ok(FrameRows {
            rows: &self.rows,
            seals: seals_digest(&layout, &self.groups, count),
        })
    }

    /// As [`Self::read`], of the next frame from the first one on, which is taken into the digests.
    pub(super) fn read_next(&mut self, frame: u64) -> Result<FrameRows<'_>> {
        let seals = self.read(frame)?.seals;
        self.of_data.update(&self.groups);
        self.of_rows.update(&self.rows);
        Ok(FrameRows {
            rows: &self.rows,
            seals,
        })
    }

    /// Bytes that the frame read last takes in the shard.
    pub(super) fn frame_bytes(&self) -> u64 {
        self.groups.len() as u64
    }

    /// Checks that what was read from front to back has the digests of the manifest.
    pub(super) fn check_digests(&self) -> Result<()> {
        let found = ShardDigests {
            data: self.of_data.finish(),
            rows: self.of_rows.finish(),
        };
        let expected = self.column.header.digests;
        ensure!(
            found == expected,
            "{}: digests are {} and {}, the manifest says {} and {}; run `engram-pack verify`",
            self.path.display(),
            found.data,
            found.rows,
            expected.data,
            expected.rows
        );
        Ok(())
    }
}
