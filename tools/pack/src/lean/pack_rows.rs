//! The rows of a pack from front to back.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use engram::shard_paths;
use engram_format::{Column, HEADER_BYTES, LayerId, Manifest, RowId, SEAL_BYTES, Table, seal};
use engram_io::{PreadReader, ReadAt};

/// Shard bytes read at a time.
const CHUNK_BYTES: usize = 2 << 20;

/// A packed pack, of which whole ranges of rows are wanted.
pub(super) struct PackRows<'a> {
    pub(super) pack: &'a Path,
    pub(super) manifest: &'a Manifest,
    /// Of each table, the shards of its columns.
    shards: Vec<Vec<PathBuf>>,
}

impl<'a> PackRows<'a> {
    /// The rows of the pack in the folder `pack`, of whose stripes those in `stripes` have moved.
    ///
    /// # Errors
    /// A moved stripe that the pack has not.
    pub(super) fn new(
        pack: &'a Path,
        manifest: &'a Manifest,
        stripes: &BTreeMap<u32, PathBuf>,
    ) -> Result<Self> {
        let shards = shard_paths(pack, manifest, stripes)?;
        Ok(Self {
            pack,
            manifest,
            shards,
        })
    }

    /// Gives one plane of the rows `wanted` of a layer to `put`, many rows at a time.
    ///
    /// # Errors
    /// A layer, a plane or rows that the pack has not, a shard that cannot be read, a row that is damaged, or what
    /// `put` says.
    pub(super) fn plane(
        &self,
        layer: LayerId,
        plane: usize,
        wanted: Range<u64>,
        put: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let tables = &self.manifest.tables;
        let index = tables.iter().position(|table| table.layer == layer);
        let index = index.with_context(|| format!("the pack has no layer {layer}"))?;
        let table = &tables[index];
        let part = table.planes.get(plane);
        let part = part.with_context(|| format!("rows of layer {layer} have no plane {plane}"))?;
        let before = table.planes[..plane].iter().map(|plane| plane.row_bytes);
        let start = usize::try_from(before.sum::<u64>())?;
        let part = start..start + usize::try_from(part.row_bytes)?;
        let mut next = wanted.start;
        let mut parts = Vec::new();
        for column in self.manifest.scheme.columns(index) {
            let end = wanted.end.min(column.first_row + column.row_count);
            if next < column.first_row || next >= end {
                continue;
            }
            let shard = &self.shards[index][column.index as usize];
            read_column(table, column, shard, next..end, &mut |rows| {
                parts.clear();
                for row in rows.chunks_exact(table.codec.row_bytes()) {
                    parts.extend_from_slice(&row[part.clone()]);
                }
                put(&parts)
            })?;
            next = end;
        }
        ensure!(
            next == wanted.end,
            "layer {layer} of the pack has no row {next}"
        );
        Ok(())
    }
}

/// Gives the rows `wanted` of `column`, whose shard lies at `path`, to `put`, each checked against its seal.
fn read_column(
    table: &Table,
    column: Column,
    path: &Path,
    wanted: Range<u64>,
    put: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let shard = PreadReader::open_sequential(path)?;
    let mut block = [0; HEADER_BYTES];
    shard.read_at(0, &mut block)?;
    let header = table.header(column).check(&block);
    header.with_context(|| path.display().to_string())?;

    let layout = table.layout();
    let chunk_groups = (CHUNK_BYTES / layout.group_bytes()).max(1) as u64;
    let mut chunk = Vec::new();
    let mut rows = Vec::new();
    let mut next = wanted.start;
    while next < wanted.end {
        let group_records = layout.group_records() as u64;
        let first = (next - column.first_row) / group_records;
        let last = (wanted.end - 1 - column.first_row) / group_records;
        let groups = (last - first + 1).min(chunk_groups);
        chunk.resize(usize::try_from(groups)? * layout.group_bytes(), 0);
        shard.read_at(layout.record_offset(first * group_records), &mut chunk)?;
        rows.clear();
        let records = chunk.chunks_exact(layout.group_bytes()).flat_map(|group| {
            group
                .chunks_exact(layout.stride())
                .take(layout.group_records())
        });
        for (row, record) in (column.first_row + first * group_records..).zip(records) {
            if !(next..wanted.end).contains(&row) {
                continue;
            }
            let (bytes, rest) = record.split_at(layout.row_bytes());
            let sealed = seal(table.layer, RowId(row), bytes).to_le_bytes();
            ensure!(
                rest[rest.len() - SEAL_BYTES..] == sealed,
                "{}: row {row} is damaged",
                path.display()
            );
            rows.extend_from_slice(bytes);
        }
        next += (rows.len() / layout.row_bytes()) as u64;
        put(&rows)?;
    }
    Ok(())
}
