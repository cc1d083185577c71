//! Reads one shard from front to back.

use std::path::Path;

use anyhow::Result;
use engram_format::{
    Column, Digester, HEADER_BYTES, RecordLayout, RowId, SEAL_BYTES, Table, seal, shard_path,
};
use engram_io::{PreadReader, ReadAt};

use super::{Damage, Findings};
use crate::Progress;

/// Bytes read at a time.
const CHUNK_BYTES: usize = 2 << 20;

/// One shard to be verified.
pub(super) struct ShardCheck<'a> {
    pub(super) pack: &'a Path,
    pub(super) table: &'a Table,
    pub(super) column: Column,
    /// One group in so many is read.
    pub(super) every: u64,
}

impl ShardCheck<'_> {
    fn name(&self) -> String {
        shard_path(self.table.layer, &self.column)
    }

    /// Everything that is wrong with the shard.
    pub(super) fn run(&self, progress: Progress<'_>) -> Findings {
        let mut findings = Findings::default();
        if let Err(error) = self.read(&mut findings, progress) {
            findings
                .damage
                .push(self.elsewhere(0, format!("{error:#}")));
        }
        findings
    }

    fn read(&self, findings: &mut Findings, progress: Progress<'_>) -> Result<()> {
        let layout = self.table.layout();
        let reader = PreadReader::open_sequential(&self.pack.join(self.name()))?;
        let expected = layout.shard_bytes(self.column.row_count);
        let size = reader.size();
        if size != expected {
            findings
                .damage
                .push(self.elsewhere(size, format!("size is {size} bytes, expected {expected}")));
        }
        let mut block = [0; HEADER_BYTES];
        reader.read_at(0, &mut block)?;
        let header = self.table.header(self.column);
        if let Err(error) = header.check(&block) {
            findings.damage.push(self.elsewhere(0, error.to_string()));
        }

        let (mut of_rows, mut of_data) = (Digester::new(), Digester::new());
        let step = Self::groups_at_a_time(&layout, self.every);
        let mut groups = vec![0; step * layout.group_bytes()];
        let group_count = self
            .column
            .row_count
            .div_ceil(layout.group_records() as u64);
        let mut group = 0;
        while group < group_count {
            let count = usize::try_from(group_count - group).map_or(step, |left| left.min(step));
            let groups = &mut groups[..count * layout.group_bytes()];
            reader.read_at(
                HEADER_BYTES as u64 + group * layout.group_bytes() as u64,
                groups,
            )?;
            of_data.update(groups);
            self.check_groups(&layout, group, groups, &mut of_rows, findings);
            findings.bytes += groups.len() as u64;
            progress(groups.len() as u64 * self.every);
            group += count as u64 * self.every;
        }
        if self.every == 1 {
            let digests = self.table.shards[self.column.index as usize];
            for (what, found, stored) in [
                ("data", of_data.finish(), digests.data),
                ("rows", of_rows.finish(), digests.rows),
            ] {
                // Damaged records have been named already.
                if found != stored && findings.damage.is_empty() {
                    let what = format!("{what} digest is {found}, the manifest says {stored}");
                    findings
                        .damage
                        .push(self.elsewhere(HEADER_BYTES as u64, what));
                }
            }
        }
        Ok(())
    }

    fn groups_at_a_time(layout: &RecordLayout, every: u64) -> usize {
        if every > 1 {
            1
        } else {
            (CHUNK_BYTES / layout.group_bytes()).max(1)
        }
    }

    /// Checks consecutive groups, the first of which is number `group` of the shard.
    fn check_groups(
        &self,
        layout: &RecordLayout,
        group: u64,
        groups: &[u8],
        of_rows: &mut Digester,
        findings: &mut Findings,
    ) {
        for (group, bytes) in (group..).zip(groups.chunks_exact(layout.group_bytes())) {
            let first = group * layout.group_records() as u64;
            let left = self.column.row_count - first;
            let count = usize::try_from(left).map_or(layout.group_records(), |left| {
                left.min(layout.group_records())
            });
            let (records, padding) = bytes.split_at(count * layout.stride());
            for (index, record) in (first..).zip(records.chunks_exact(layout.stride())) {
                let row = RowId(self.column.first_row + index);
                of_rows.update(&record[..layout.row_bytes()]);
                if let Some(what) = check_record(layout, self.table.layer, row, record) {
                    self.record_damage(findings, row, layout.record_offset(index), what);
                }
            }
            findings.records += count as u64;
            if let Some(at) = padding.iter().position(|&byte| byte != 0) {
                let offset = layout.record_offset(first) + (records.len() + at) as u64;
                let what = format!(
                    "padding after the last record is {:02x}, expected 00",
                    padding[at]
                );
                findings.damage.push(self.elsewhere(offset, what));
            }
        }
    }

    /// Adds a record, to the range before it where the same is wrong with both.
    fn record_damage(&self, findings: &mut Findings, row: RowId, offset: u64, what: String) {
        if let Some(last) = findings.damage.last_mut()
            && last.what == what
            && last.row.is_some_and(|first| first + last.records == row.0)
        {
            last.records += 1;
            return;
        }
        findings.damage.push(Damage {
            file: self.name(),
            row: Some(row.0),
            records: 1,
            offset,
            what,
        });
    }

    fn elsewhere(&self, offset: u64, what: String) -> Damage {
        Damage {
            file: self.name(),
            row: None,
            records: 0,
            offset,
            what,
        }
    }
}

fn check_record(layout: &RecordLayout, layer: u32, row: RowId, record: &[u8]) -> Option<String> {
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
