//! Folds the edited rows of an overlay into a new pack.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use engram::{Batch, Config, LayerId, RowId, Store, read_manifest, shard_paths};
use engram_format::{Digester, ShardDigests, Storage};
use engram_io::parallel;
use engram_kit::{pack_facts::row_bytes, parallel::default_jobs};
use engram_overlay::{Durability, Edits, Key, Overlay, Shape, Snapshot};
use serde::Serialize;

use crate::{
    Progress, Stop,
    build::{ShardFile, begin_of_pack, space, write_manifest, write_token_map},
    claim::Claim,
};

/// An entry with its rows.
type Entry<'a> = (LayerId, Key, &'a [u8]);

/// How a pack is compacted.
#[derive(Debug, Clone, Default)]
pub struct CompactOptions {
    /// Threads; 0 for a few.
    pub jobs: usize,
    /// Whether to go on with an unfinished run in the new pack's folder.
    pub resume: bool,
    /// Folder of the checkpoint behind an attached pack, where it has moved.
    pub checkpoint: Option<PathBuf>,
    /// Folders of the pack's stripes that have moved.
    pub moved_stripes: BTreeMap<u32, PathBuf>,
    /// Ends the compaction; it can be resumed as one that was killed.
    pub stop: Stop,
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

/// Writes to the folder `out` a pack that has the rows of `pack` and, in the place of some, those that `edits` has by
/// row id. The exact n-grams of `edits` are written to a new overlay of it in the folder `ngrams`.
///
/// # Errors
/// Edits of another pack, exact n-grams without a folder for them, a pack or folder that cannot be used, rows that
/// cannot be read, or a drive that is full. What is finished stays, and `resume` goes on from there.
pub fn compact(
    pack: &Path,
    edits: &Snapshot,
    out: &Path,
    ngrams: Option<&Path>,
    options: &CompactOptions,
    progress: Progress<'_>,
) -> Result<CompactReport> {
    let is_row = |(_, key, _): &Entry<'_>| matches!(key, Key::Row(_));
    let (rows, exact): (Vec<_>, Vec<_>) = entries(edits)?.into_iter().partition(is_row);
    // Where there are none, no overlay is made.
    let ngrams = match ngrams {
        _ if exact.is_empty() => None,
        None => bail!(
            "the overlay has {} exact n-grams, which no row can hold; name a folder for an overlay of the new pack \
             that has them (--ngrams)",
            exact.len()
        ),
        Some(path) if options.resume => Some(path),
        Some(path) => {
            refuse_existing(path)?;
            Some(path)
        }
    };
    let store = open(pack, edits, options)?;
    let source = store.manifest();
    ensure!(
        Shape::of(source).identity() == edits.shape().identity(),
        "the edits are of another pack than {}",
        pack.display()
    );
    let mut digest = Digester::new();
    digest.update(source.to_text().as_bytes());
    for (layer, key, bytes) in &rows {
        let Key::Row(row) = key else { continue };
        digest.update(&layer.0.to_le_bytes());
        digest.update(&row.0.to_le_bytes());
        digest.update(bytes);
    }
    let claims = begin_of_pack(
        &[out],
        &format!("{} compacted", digest.finish()),
        options.resume,
    )?;
    // The overlay before the run ends, so that one that is killed here is gone on with.
    let made = finish(&store, out, options, progress).and_then(|shards| {
        ngrams.map_or(Ok(()), |path| write_ngrams(out, path, &exact))?;
        Ok(shards)
    });
    let (shards, shards_resumed) = made.with_context(|| {
        format!(
            "the compaction to {} is unfinished; run it again with --resume",
            out.display()
        )
    })?;
    claims.into_iter().try_for_each(Claim::end)?;
    Ok(CompactReport {
        rows: rows.len(),
        ngrams: exact.len(),
        shards,
        shards_resumed,
    })
}

/// All entries, in order.
fn entries(edits: &Snapshot) -> Result<Vec<Entry<'_>>> {
    let mut all = Vec::new();
    for layer in edits.shape().layers() {
        let entries = edits.entries(layer)?;
        all.extend(entries.map(|(key, bytes)| (layer, key, bytes)));
    }
    all.sort();
    Ok(all)
}

/// # Errors
/// A folder in `path` that has anything in it.
fn refuse_existing(path: &Path) -> Result<()> {
    match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        listed => {
            let is_empty = listed.map(|mut list| list.next().is_none());
            ensure!(
                is_empty.with_context(|| path.display().to_string())?,
                "the folder {} is not empty; exact n-grams go to a new overlay (go on with an unfinished run by \
                 --resume)",
                path.display()
            );
            Ok(())
        }
    }
}

/// Writes the exact n-grams to an overlay of the new pack in the folder `path`, unless they are there.
fn write_ngrams(out: &Path, path: &Path, exact: &[Entry<'_>]) -> Result<()> {
    let overlay = Overlay::open(out, path, Durability::Drive)?;
    let found = overlay.snapshot();
    if found.version() == 0 {
        let mut edits = Edits::new();
        for (layer, key, bytes) in exact {
            edits.set(*layer, key.clone(), bytes.to_vec());
        }
        overlay.write(&edits)?;
        return Ok(());
    }
    // A run that was killed after this point has written all of them.
    ensure!(
        entries(&found)? == exact,
        "the overlay {} has other entries than the exact n-grams that belong there; name another folder (--ngrams)",
        path.display()
    );
    Ok(())
}

/// The pack as it is served with `edits`.
fn open(pack: &Path, edits: &Snapshot, options: &CompactOptions) -> Result<Store> {
    // Every row is read once, so none is worth a place in a cache.
    let mut config = Config::new().cache_bytes(0).tier(Arc::new(edits.clone()));
    config.checkpoint.clone_from(&options.checkpoint);
    config.stripes.clone_from(&options.moved_stripes);
    Ok(Store::open(pack, config)?)
}

/// Writes the shards that are missing, then the rest of the pack. Returns how many shards there are, and how many an
/// earlier run had finished.
fn finish(
    store: &Store,
    out: &Path,
    options: &CompactOptions,
    progress: Progress<'_>,
) -> Result<(usize, usize)> {
    let mut manifest = store.manifest().clone();
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
    let wanted = shards.iter();
    space::check(wanted.map(|shard| (&*shard.path, shard.shard_bytes())))?;
    let threads = match options.jobs {
        0 => default_jobs(),
        jobs => jobs,
    };
    let written = parallel::map(threads, &shards, |shard| {
        write_shard(shard, store, &options.stop, progress)
    })?;
    let resumed = written.iter().filter(|(_, resumed)| *resumed).count();
    let mut digests = written.iter().map(|&(digests, _)| digests);
    let columns = manifest.scheme.column_count();
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
    stop: &Stop,
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
        stop.check()?;
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
