//! Reads a whole pack and names every record that is damaged.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use engram::{Batch, Config, LookupError, Reader, Store};
use engram_format::{
    Column, Digest, Digester, HEADER_BYTES, MANIFEST_FILE, Manifest, RecordLayout, RowId,
    SEAL_BYTES, Storage, TOKEN_MAP_FILE, Table, seal, shard_path,
};
use engram_io::{PreadReader, ReadAt};
use serde::Serialize;

use crate::{Progress, parallel};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 2 << 20;

/// What is verified.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// Threads; 0 for a few.
    pub jobs: usize,
    /// Percentage of the records to read, evenly spread; all of them and the digests if not given.
    pub sample: Option<f64>,
    /// Folder of the checkpoint behind an attached pack, where it has moved.
    pub checkpoint: Option<PathBuf>,
}

/// Consecutive records of a shard that are damaged in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// File in the pack's folder.
    pub file: String,
    /// Row id of the first damaged record, where it is a record.
    pub row: Option<u64>,
    /// Records; 0 if the damage is elsewhere in the file.
    pub records: u64,
    /// Offset in the file.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

/// What a verification found.
#[derive(Debug, Clone, Serialize)]
pub struct VerifyReport {
    /// Records read.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Wall-clock time.
    pub seconds: f64,
    /// Everything damaged, by file and offset.
    pub damage: Vec<Damage>,
}

struct ShardCheck<'a> {
    pack: &'a Path,
    table: &'a Table,
    column: Column,
    /// One group in so many is read.
    every: u64,
}

#[derive(Default)]
struct Findings {
    records: u64,
    bytes: u64,
    damage: Vec<Damage>,
}

/// Verifies the pack in the folder `pack`. `progress` counts bytes of [`pack_bytes`].
///
/// # Errors
/// A manifest that cannot be read; all other damage is in the report.
pub fn verify(
    pack: &Path,
    options: &VerifyOptions,
    progress: Progress<'_>,
) -> Result<VerifyReport> {
    let start = Instant::now();
    let manifest = read_manifest(pack)?;
    let mut findings = match manifest.storage {
        Storage::Packed => verify_shards(pack, &manifest, options, progress)?,
        Storage::Attached { .. } => verify_samples(pack, &manifest, options)?,
    };
    findings.damage.extend(verify_token_map(pack, &manifest));
    Ok(VerifyReport {
        records: findings.records,
        bytes: findings.bytes,
        seconds: start.elapsed().as_secs_f64(),
        damage: findings.damage,
    })
}

/// Reads the manifest of the pack in the folder `pack`, and nothing else.
///
/// # Errors
/// A manifest that is missing or damaged.
pub fn read_manifest(pack: &Path) -> Result<Manifest> {
    let path = pack.join(MANIFEST_FILE);
    let context = || format!("{}", path.display());
    let text = std::fs::read(&path).with_context(context)?;
    Manifest::from_text(&text).with_context(context)
}

/// Bytes of all shards.
pub fn pack_bytes(manifest: &Manifest) -> u64 {
    let tables = manifest.tables.iter().enumerate();
    tables
        .flat_map(|(index, table)| {
            let shards = manifest.scheme.columns(index).take(table.shards.len());
            shards.map(|column| table.layout().shard_bytes(column.row_count))
        })
        .sum()
}

fn verify_shards(
    pack: &Path,
    manifest: &Manifest,
    options: &VerifyOptions,
    progress: Progress<'_>,
) -> Result<Findings> {
    let every = match options.sample {
        None => 1,
        Some(percent) => {
            ensure!(
                percent > 0.0 && percent <= 100.0,
                "--sample is {percent}, expected above 0 and up to 100"
            );
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a positive whole number"
            )]
            let every = (100.0 / percent).round().min(1e18) as u64;
            every.max(1)
        }
    };
    let shards: Vec<ShardCheck<'_>> = (manifest.tables.iter().enumerate())
        .flat_map(|(index, table)| {
            manifest
                .scheme
                .columns(index)
                .map(move |column| ShardCheck {
                    pack,
                    table,
                    column,
                    every,
                })
        })
        .collect();
    let threads = if options.jobs == 0 {
        parallel::default_jobs()
    } else {
        options.jobs
    };
    let found = parallel::map(threads, &shards, |shard| anyhow::Ok(shard.run(progress)))?;
    Ok(found
        .into_iter()
        .fold(Findings::default(), |mut all, shard| {
            all.records += shard.records;
            all.bytes += shard.bytes;
            all.damage.extend(shard.damage);
            all
        }))
}

impl ShardCheck<'_> {
    fn name(&self) -> String {
        shard_path(self.table.layer, &self.column)
    }

    fn run(&self, progress: Progress<'_>) -> Findings {
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

fn verify_token_map(pack: &Path, manifest: &Manifest) -> Option<Damage> {
    let file = manifest.token_map.as_ref()?;
    let what = match std::fs::read(pack.join(TOKEN_MAP_FILE)) {
        Err(error) => error.to_string(),
        Ok(bytes) => {
            let found = Digest::of(&bytes);
            if found == file.digest {
                return None;
            }
            format!("digest is {found}, the manifest says {}", file.digest)
        }
    };
    Some(Damage {
        file: TOKEN_MAP_FILE.into(),
        row: None,
        records: 0,
        offset: 0,
        what,
    })
}

/// Compares the rows whose seals the manifest of an attached pack keeps.
fn verify_samples(pack: &Path, manifest: &Manifest, options: &VerifyOptions) -> Result<Findings> {
    let mut config = Config::new().reader(Reader::Pread);
    config.checkpoint.clone_from(&options.checkpoint);
    let store = Store::open(pack, config)?;
    let mut findings = Findings::default();
    for table in &manifest.tables {
        let mut bytes = vec![0; table.codec.row_bytes()];
        for sample in &table.samples {
            let row = RowId(sample.row);
            let batch = Batch {
                layer: table.layer,
                rows: &[row],
            };
            let what = match store.lookup(batch, &mut bytes) {
                Ok(()) if seal(table.layer, row, &bytes) == sample.seal => None,
                Ok(()) => Some("the row differs from when the checkpoint was attached".into()),
                Err(LookupError::Io(error)) => Some(error.to_string()),
                Err(error) => return Err(error.into()),
            };
            findings.records += 1;
            findings.bytes += bytes.len() as u64;
            if let Some(what) = what {
                let segments = &table.planes[0].segments;
                let segment =
                    &segments[segments.partition_point(|segment| segment.first_row <= row.0) - 1];
                findings.damage.push(Damage {
                    file: manifest.sources[segment.source as usize].name.clone(),
                    row: Some(row.0),
                    records: 1,
                    offset: segment.offset
                        + (row.0 - segment.first_row) * table.planes[0].row_bytes,
                    what,
                });
            }
        }
    }
    Ok(findings)
}
