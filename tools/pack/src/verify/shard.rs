//! Reads one shard from front to back.

use std::path::{Path, PathBuf};

use engram_format::{
    Column, Digester, HEADER_BYTES, LayerId, RecordLayout, RowId, SEAL_BYTES, Table, seal,
};
use engram_io::{IoError, PreadReader, ReadAt};

use super::{Findings, flaw::Flaw, spread::Spread};
use crate::{Progress, Stop};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 2 << 20;

/// One shard to be verified.
pub(super) struct ShardCheck<'a> {
    pub(super) pack: &'a Path,
    pub(super) path: PathBuf,
    pub(super) table: &'a Table,
    pub(super) column: Column,
    /// Percentage of the groups to read; all and the digests if not given.
    pub(super) sample: Option<f64>,
    /// What is found after it means nothing.
    pub(super) stop: &'a Stop,
}

impl ShardCheck<'_> {
    /// Everything that is wrong with the shard.
    pub(super) fn run(&self, progress: Progress<'_>) -> Findings {
        let mut scan = Scan {
            shard: self,
            name: {
                let name = self.path.strip_prefix(self.pack).unwrap_or(&self.path);
                name.display().to_string()
            },
            layout: self.table.layout(),
            findings: Findings::default(),
        };
        if let Err(error) = scan.run(progress) {
            scan.elsewhere(0, Flaw::from(&error));
        }
        scan.findings
    }
}

struct Scan<'a> {
    shard: &'a ShardCheck<'a>,
    name: String,
    layout: RecordLayout,
    findings: Findings,
}

impl Scan<'_> {
    fn run(&mut self, progress: Progress<'_>) -> Result<(), IoError> {
        let &ShardCheck {
            ref path,
            table,
            column,
            sample,
            ..
        } = self.shard;
        let reader = PreadReader::open_sequential(path)?;
        let (size, expected) = (reader.size(), self.layout.shard_bytes(column.row_count));
        if size != expected {
            let what = format!("size is {size} bytes, expected {expected}");
            self.elsewhere(size, Flaw::Damaged(what));
        }
        let mut block = [0; HEADER_BYTES];
        match reader.read_at(0, &mut block) {
            Err(error) => self.elsewhere(0, Flaw::from(&error)),
            Ok(()) => {
                if let Err(error) = table.header(column).check(&block) {
                    self.elsewhere(0, Flaw::Damaged(error.to_string()));
                }
            }
        }
        progress(HEADER_BYTES as u64);
        let groups = column
            .row_count
            .div_ceil(self.layout.group_records() as u64);
        match sample {
            Some(percent) => self.sample(&reader, groups, percent, progress),
            None => self.all(&reader, groups, progress),
        }
        Ok(())
    }

    fn sample(&mut self, reader: &PreadReader, groups: u64, percent: f64, progress: Progress<'_>) {
        let group_bytes = self.layout.group_bytes();
        let mut bytes = vec![0; group_bytes];
        let mut done = 0;
        for group in Spread::new(groups, percent) {
            if self.shard.stop.is_stopped() {
                return;
            }
            self.group(reader, group, &mut bytes);
            progress((group + 1 - done) * group_bytes as u64);
            done = group + 1;
        }
    }

    fn all(&mut self, reader: &PreadReader, groups: u64, progress: Progress<'_>) {
        let group_bytes = self.layout.group_bytes();
        let step = (CHUNK_BYTES / group_bytes).max(1);
        let mut chunk = vec![0; step * group_bytes];
        let (mut of_rows, mut of_data) = (Digester::new(), Digester::new());
        let mut next = 0;
        while next < groups {
            if self.shard.stop.is_stopped() {
                return;
            }
            let count = usize::try_from(groups - next).map_or(step, |left| left.min(step));
            let chunk = &mut chunk[..count * group_bytes];
            let whole = reader.read_at(self.group_offset(next), chunk).is_ok();
            for (group, bytes) in (next..).zip(chunk.chunks_exact_mut(group_bytes)) {
                if whole {
                    self.check_group(group, bytes, group_bytes);
                } else {
                    self.group(reader, group, bytes);
                }
                let records = bytes.chunks_exact(self.layout.stride());
                for record in records.take(self.records_of(group)) {
                    of_rows.update(&record[..self.layout.row_bytes()]);
                }
            }
            of_data.update(chunk);
            progress(chunk.len() as u64);
            next += count as u64;
        }
        let digests = self.shard.table.shards[self.shard.column.index as usize];
        for (what, found, stored) in [
            ("data", of_data.finish(), digests.data),
            ("rows", of_rows.finish(), digests.rows),
        ] {
            // Of other flaws, which explain it, the place has been named already.
            if found != stored && self.findings.is_empty() {
                let what = format!("{what} digest is {found}, the manifest says {stored}");
                self.elsewhere(HEADER_BYTES as u64, Flaw::Damaged(what));
            }
        }
    }

    /// Reads one group, or what the file has of it, and checks it.
    fn group(&mut self, reader: &PreadReader, group: u64, bytes: &mut [u8]) {
        let offset = self.group_offset(group);
        let left = reader.size().saturating_sub(offset);
        let present = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let read = match present {
            0 => Ok(()),
            _ => reader.read_at(offset, &mut bytes[..present]),
        };
        match read {
            Ok(()) => self.check_group(group, bytes, present),
            Err(error) => self.lost(group, 0, || Flaw::from(&error)),
        }
    }

    /// Checks the group of which the first `present` bytes were read.
    fn check_group(&mut self, group: u64, bytes: &[u8], present: usize) {
        let stride = self.layout.stride();
        let first = group * self.layout.group_records() as u64;
        let count = self.records_of(group).min(present / stride);
        let (records, rest) = bytes[..present].split_at(count * stride);
        for (index, record) in (first..).zip(records.chunks_exact(stride)) {
            let row = RowId(self.shard.column.first_row + index);
            if let Some(what) = check_record(&self.layout, self.shard.table.layer, row, record) {
                self.record(row, self.layout.record_offset(index), Flaw::Damaged(what));
            }
        }
        self.findings.records += count as u64;
        self.findings.bytes += present as u64;
        if count < self.records_of(group) {
            self.lost(group, count, || {
                Flaw::Damaged("beyond the end of the file".into())
            });
        } else if let Some(at) = rest.iter().position(|&byte| byte != 0) {
            let offset = self.group_offset(group) + (records.len() + at) as u64;
            let found = rest[at];
            let what = format!("padding after the last record is {found:02x}, expected 00");
            self.elsewhere(offset, Flaw::Damaged(what));
        }
    }

    /// Adds the records of `group` from `slot` on, which could not be had.
    fn lost(&mut self, group: u64, slot: usize, flaw: impl Fn() -> Flaw) {
        let first = group * self.layout.group_records() as u64;
        for slot in slot..self.records_of(group) {
            let index = first + slot as u64;
            let row = RowId(self.shard.column.first_row + index);
            self.record(row, self.layout.record_offset(index), flaw());
        }
    }

    fn group_offset(&self, group: u64) -> u64 {
        self.layout
            .record_offset(group * self.layout.group_records() as u64)
    }

    fn records_of(&self, group: u64) -> usize {
        let most = self.layout.group_records();
        let left = self.shard.column.row_count - group * most as u64;
        usize::try_from(left).map_or(most, |left| left.min(most))
    }

    /// Adds a record, to the range before it where the same is wrong with both.
    fn record(&mut self, row: RowId, offset: u64, flaw: Flaw) {
        self.findings
            .add_record(self.name.clone(), row, offset, flaw);
    }

    fn elsewhere(&mut self, offset: u64, flaw: Flaw) {
        self.findings.add(self.name.clone(), offset, flaw);
    }
}

fn check_record(
    layout: &RecordLayout,
    layer: LayerId,
    row: RowId,
    record: &[u8],
) -> Option<String> {
    let (bytes, rest) = record.split_at(layout.row_bytes());
    let (padding, stored) = rest.split_at(rest.len() - SEAL_BYTES);
    if seal(layer, row, bytes).to_le_bytes() != stored {
        return Some("the seal does not match: the record is damaged or misplaced".into());
    }
    if padding.iter().any(|&byte| byte != 0) {
        return Some("padding is not zero".into());
    }
    None
}
