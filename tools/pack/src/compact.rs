//! Folds the edited rows of an overlay into a new pack.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use engram::{Batch, Config, LayerId, Reader, RowId, Store, read_manifest, shard_paths};
use engram_format::{Column, Digest, Manifest, ShardDigests, Storage, TOKEN_MAP_FILE, Table};
use engram_io::parallel;
use engram_kit::{pack_facts::row_bytes, parallel::default_jobs};
use engram_overlay::{Durability, Edits, Key, Overlay, Snapshot};
use serde::Serialize;

use crate::{
    Progress,
    build::{ShardFile, is_finished, write_manifest, write_token_map},
    claim::{Claim, Work},
};

const COMPACTING: Work = Work {
    name: "compaction",
    mark: "compact.unfinished",
    is_leaving: |path| {
        path.ends_with(TOKEN_MAP_FILE) || path.ends_with(engram_format::MANIFEST_FILE)
    },
};

/// How a pack is compacted.
#[derive(Debug, Clone, Default)]
pub struct CompactOptions {
    /// Threads; 0 for a few.
    pub jobs: usize,
    /// Whether to go on with an unfinished run in the new pack's folder.
    pub resume: bool,
}

/// What was folded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CompactReport {
    /// Edited rows, which the new pack has as its own.
    pub rows: usize,
    /// Exact n-grams, which went to the new pack's overlay: no row can hold them.
    pub ngrams: usize,
    /// Shards of the new pack.
    pub shards: usize,
    /// Shards that an earlier run had finished.
    pub shards_resumed: usize,
}

/// Row bytes of the pack in the folder `pack`, for progress.
///
/// # Errors
/// A pack that cannot be read.
pub fn compacted_bytes(pack: &Path) -> Result<u64> {
    Ok(row_bytes(&read_manifest(pack)?))
}

/// Writes to the folder `out` a pack that has the rows of `pack` and, in the place of some, those that `edits` has by row
/// id. The exact n-grams of `edits` are written to a new overlay of it in the folder `ngrams`.
///
/// # Errors
/// Exact n-grams without a folder for them, a pack or folder that cannot be used, rows that cannot be read, or a drive
/// that is full. What is finished stays, and `resume` goes on from there.
pub fn compact(
    pack: &Path,
    edits: &Snapshot,
    out: &Path,
    ngrams: Option<&Path>,
    options: &CompactOptions,
    progress: Progress<'_>,
) -> Result<CompactReport> {
    let mut exact = Edits::new();
    let (mut rows, mut digest) = (0, engram_format::Digester::new());
    for layer in edits.shape().layers() {
        let mut entries: Vec<(Key, &[u8])> = edits.entries(layer)?.collect();
        entries.sort();
        for (key, bytes) in entries {
            if let Key::Row(row) = key {
                rows += 1;
                digest.update(&layer.0.to_le_bytes());
                digest.update(&row.0.to_le_bytes());
                digest.update(bytes);
            } else {
                exact.set(layer, key, bytes.to_vec());
            }
        }
    }
    ensure!(
        exact.is_empty() || ngrams.is_some(),
        "the overlay has {} exact n-grams, which no row can hold; name a folder for an overlay of the new pack that has \
         them (--ngrams)",
        exact.len()
    );
    let is_unfinished = out.join(COMPACTING.mark).exists();
    ensure!(
        is_unfinished || !is_finished(out),
        "{} is a finished pack already",
        out.display()
    );
    let manifest = read_manifest(pack)?;
    let task = format!(
        "{} {}",
        Digest::of(manifest.to_text().as_bytes()),
        digest.finish()
    );
    let claim = begin(out, &task, options.resume)?;
    let made = finish(pack, edits, manifest, out, options, progress);
    let (shards, shards_resumed) = made.with_context(|| {
        format!(
            "the compaction to {} is unfinished; run it again with --resume",
            out.display()
        )
    })?;
    // Before the run ends, so that one that is killed here is gone on with.
    if let (Some(path), false) = (ngrams, exact.is_empty()) {
        Overlay::open(out, path, Durability::Drive)?.write(&exact)?;
    }
    claim.end()?;
    Ok(CompactReport {
        rows,
        ngrams: exact.len(),
        shards,
        shards_resumed,
    })
}

fn begin(out: &Path, task: &str, resume: bool) -> Result<Claim> {
    let claim = Claim::take(out, &COMPACTING, || Ok(()))?;
    let begun = claim.finished_work().and_then(|finished| {
        if finished.is_none() {
            return claim.begin(task);
        }
        if !resume {
            bail!(
                "{} holds an unfinished compaction; go on with it by --resume, or remove it",
                out.display()
            );
        }
        let stored = claim.task()?;
        ensure!(
            stored == task,
            "the unfinished compaction in {} is of another pack or other edits; remove it",
            out.display()
        );
        claim.go_on(task)
    });
    match begun {
        Ok(()) => Ok(claim),
        Err(error) => {
            claim.give_back();
            Err(error)
        }
    }
}

/// Writes the shards that are missing, then the rest of the pack. Returns how many shards there are, and how many an
/// earlier run had finished.
fn finish(
    pack: &Path,
    edits: &Snapshot,
    mut manifest: Manifest,
    out: &Path,
    options: &CompactOptions,
    progress: Progress<'_>,
) -> Result<(usize, usize)> {
    let config = Config::new()
        .reader(Reader::Pread)
        .tier(Arc::new(edits.clone()));
    let store = Store::open(pack, config)?;
    manifest.storage = Storage::Packed;
    manifest.stripes = None;
    for table in &mut manifest.tables {
        table.samples.clear();
    }
    let paths = shard_paths(out, &manifest, &BTreeMap::new())?;
    let shards: Vec<ShardFile> = (manifest.tables.iter().zip(paths).enumerate())
        .flat_map(|(index, (table, paths))| {
            let columns = manifest.scheme.columns(index).zip(paths);
            columns.map(|(column, path)| ShardFile {
                path,
                layer: table.layer,
                column,
                codec: table.codec,
            })
        })
        .collect();
    let threads = if options.jobs == 0 {
        default_jobs()
    } else {
        options.jobs
    };
    let written = parallel::map(threads, &shards, |shard| {
        write_shard(shard, &store, progress)
    })?;
    let resumed = written.iter().filter(|(_, resumed)| *resumed).count();
    let mut digests = written.iter().map(|&(digests, _)| digests);
    let columns = manifest.scheme.column_count();
    let mut manifest = manifest.clone();
    for table in &mut manifest.tables {
        table.shards = digests.by_ref().take(columns).collect();
    }
    write_token_map(out, store.hasher().token_map())?;
    write_manifest(out, &manifest)?;
    Ok((written.len(), resumed))
}

/// The digests of the shard, and whether it was there.
fn write_shard(
    shard: &ShardFile,
    store: &Store,
    progress: Progress<'_>,
) -> Result<(ShardDigests, bool)> {
    if let Some(digests) = shard.finished()? {
        progress(shard.row_bytes());
        return Ok((digests, true));
    }
    let mut file = shard.create()?;
    let mut ids = Vec::new();
    let mut rows = vec![0; shard.chunk_rows() * shard.codec.row_bytes()];
    let end = shard.column.first_row + shard.column.row_count;
    for first in (shard.column.first_row..end).step_by(shard.chunk_rows()) {
        ids.clear();
        ids.extend((first..end).take(shard.chunk_rows()).map(RowId));
        let rows = &mut rows[..ids.len() * shard.codec.row_bytes()];
        // Without n-grams, so that exact ones are not served.
        store.lookup(Batch::new(shard.layer, &ids), rows)?;
        file.write(rows)?;
        progress(rows.len() as u64);
    }
    Ok((file.finish()?, false))
}
