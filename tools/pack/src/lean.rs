//! Takes the tables out of a checkpoint that has been packed, and puts them back.
//!
//! A lean checkpoint has every file of the checkpoint but the tables' tensors, so a model that gets its rows from a
//! pack loads it as it is; in a GGUF file, rows become a hole. What is missing can be made again from the pack to the
//! bit, which is proved before the lean checkpoint is whole.

mod header;
mod links;
mod pack_rows;
mod plan;
mod rebuild;
mod record;
mod restore;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf, absolute},
};

use anyhow::{Context, Result, bail, ensure};
use engram::read_manifest;
use engram_checkpoint::{Checkpoint, INDEX_FILE, gguf_parts};
use engram_format::{Digest, Digester, Manifest, Storage};
use engram_io::{PreadReader, ReadAt, parallel, publish_bytes};
use engram_kit::parallel::default_jobs;
use serde::Serialize;

use crate::{
    Progress,
    build::is_built_from,
    claim::{Claim, Work},
};
use links::{Links, link_files, link_named};
use pack_rows::PackRows;
use plan::LeanPlan;
use rebuild::rebuild;
use record::{LeanRecord, PackIdentity};

pub use record::LEAN_FILE;
pub use restore::{RestoreOptions, RestoreReport, restore, restored_bytes};

/// Largest index that is taken over.
const MAX_INDEX_BYTES: u64 = 64 << 20;

const LEAN: Work = Work {
    name: "lean",
    mark: "lean.unfinished",
    is_leaving: |_| true,
};

/// What was taken out of a checkpoint.
#[derive(Debug, Clone, Serialize)]
pub struct LeanReport {
    /// Bytes of the checkpoint's files that hold tables.
    pub table_file_bytes: u64,
    /// Bytes of other tensors in them, which were copied.
    pub copied_bytes: u64,
    /// Files that hold tables, by path. Nothing needs them any more.
    pub replaced: Vec<PathBuf>,
    /// Other files, which are hard links: they stay when the checkpoint is removed.
    pub hard_links: usize,
    /// Other files on another file system, which are symbolic links and need the checkpoint's.
    pub symbolic_links: usize,
}

/// Bytes that [`lean`] compares, for progress.
pub fn lean_bytes(checkpoint: &Checkpoint) -> u64 {
    checkpoint.sources.iter().map(|source| source.bytes).sum()
}

/// Writes to the folder `out` what `checkpoint` has beside the tables that are in `pack`. Every byte that it leaves out
/// is compared with what [`restore`] would make. `stripes` has the folders of the pack's stripes that have moved;
/// `progress` counts bytes.
///
/// # Errors
/// A pack of another checkpoint, one that is attached to it, a moved stripe that it has not, a folder that is not
/// empty, a file that cannot be read or written, or rows that differ. What was made until then is removed.
pub fn lean(
    checkpoint: &Checkpoint,
    pack: &Path,
    stripes: &BTreeMap<u32, PathBuf>,
    out: &Path,
    progress: Progress<'_>,
) -> Result<LeanReport> {
    let manifest = read_manifest(pack)?;
    if let Storage::Attached { checkpoint } = &manifest.storage {
        bail!(
            "{} is attached to {checkpoint} and has no rows of its own; build a pack",
            pack.display()
        );
    }
    check_not_cold(pack, &manifest)?;
    ensure!(
        is_built_from(manifest.clone(), checkpoint),
        "{} was not built from the checkpoint {}",
        pack.display(),
        checkpoint.folder.display()
    );
    let rows = PackRows::new(pack, &manifest, stripes)?;
    let claim = Claim::take(out, &LEAN, || {
        ensure!(
            !out.join(LEAN_FILE).exists(),
            "{} is a lean checkpoint already",
            out.display()
        );
        Ok(())
    })?;
    claim.begin(LEAN.name)?;
    match fill(checkpoint, &rows, out, progress) {
        Ok(report) => claim.end().map(|()| report),
        Err(error) => {
            claim.abandon();
            Err(error)
        }
    }
}

/// Checks that rows can be read from `pack` from front to back.
fn check_not_cold(pack: &Path, manifest: &Manifest) -> Result<()> {
    ensure!(
        !matches!(manifest.storage, Storage::Cold { .. }),
        "{} is a cold pack; make a packed pack of it by `engram-pack thaw`",
        pack.display()
    );
    Ok(())
}

fn fill(
    checkpoint: &Checkpoint,
    rows: &PackRows<'_>,
    out: &Path,
    progress: Progress<'_>,
) -> Result<LeanReport> {
    let PackRows { pack, manifest, .. } = *rows;
    let plans: Vec<LeanPlan> = (0..checkpoint.sources.len())
        .map(|source| LeanPlan::new(checkpoint, source))
        .collect::<Result<_>>()?;
    for plan in &plans {
        plan.write_kept(&checkpoint.folder, out)?;
    }
    let files = parallel::map(default_jobs(), &plans, |plan| {
        let digest = compare(plan, checkpoint, rows, out, progress)?;
        anyhow::Ok(plan.file(digest))
    })?;

    let replaced: BTreeSet<PathBuf> = (checkpoint.sources.iter())
        .map(|source| checkpoint.folder.join(&source.name))
        .collect();
    let gguf = gguf_parts(&checkpoint.sources[0].name);
    let index_path = checkpoint.folder.join(INDEX_FILE);
    let mut index = None;
    if gguf.is_none() && index_path.exists() {
        let text = String::from_utf8(engram_io::read_file(&index_path, MAX_INDEX_BYTES)?);
        let text = text.with_context(|| index_path.display().to_string())?;
        let lean = lean_index(&text, &plans);
        let lean = lean.with_context(|| index_path.display().to_string())?;
        publish_bytes(&out.join(INDEX_FILE), lean.as_bytes())?;
        index = Some(text);
    }
    let mut others = replaced.clone();
    others.insert(index_path);
    let Links {
        hard_links,
        symbolic_links,
    } = match gguf {
        // Beside a GGUF file lie those of other models.
        Some(parts) => link_named(&checkpoint.folder, out, &parts, &others)?,
        None => link_files(&checkpoint.folder, out, &others, &[out, pack])?,
    };

    let path = absolute(pack).with_context(|| format!("cannot resolve {}", pack.display()))?;
    let record = LeanRecord {
        pack: PackIdentity {
            path,
            manifest: Digest::of(manifest.to_text().as_bytes()),
        },
        index,
        files,
    };
    publish_bytes(&out.join(LEAN_FILE), record.to_text().as_bytes())?;
    Ok(LeanReport {
        table_file_bytes: lean_bytes(checkpoint),
        copied_bytes: plans.iter().map(LeanPlan::kept_bytes).sum(),
        replaced: replaced.into_iter().collect(),
        hard_links,
        symbolic_links,
    })
}

/// Compares a file with what would be made of it again, and returns its digest.
fn compare(
    plan: &LeanPlan,
    checkpoint: &Checkpoint,
    rows: &PackRows<'_>,
    out: &Path,
    progress: Progress<'_>,
) -> Result<Digest> {
    let path = checkpoint.folder.join(plan.name());
    let original = PreadReader::open_sequential(&path)?;
    let (mut offset, mut digester, mut bytes) = (0, Digester::new(), Vec::new());
    rebuild(&plan.file(Digest(0)), rows, out, &mut |made| {
        bytes.resize(made.len(), 0);
        original.read_at(offset, &mut bytes)?;
        if let Some(at) = bytes.iter().zip(made).position(|(is, made)| is != made) {
            bail!(
                "{}: byte {} is {:#04x}, from {} it would be {:#04x}; build the pack anew",
                path.display(),
                offset + at as u64,
                bytes[at],
                rows.pack.display(),
                made[at],
            );
        }
        digester.update(made);
        offset += made.len() as u64;
        progress(made.len() as u64);
        Ok(())
    })?;
    Ok(digester.finish())
}

/// The index without the tensors that are left out.
fn lean_index(text: &str, plans: &[LeanPlan]) -> Result<String> {
    let removed: BTreeSet<&str> = plans.iter().flat_map(LeanPlan::removed).collect();
    let mut index: serde_json::Value = serde_json::from_str(text)?;
    if let Some(map) = index["weight_map"].as_object_mut() {
        map.retain(|name, _| !removed.contains(name.as_str()));
    }
    if let Some(total) = index["metadata"]["total_size"].as_u64() {
        let bytes: u64 = plans.iter().map(LeanPlan::removed_bytes).sum();
        index["metadata"]["total_size"] = total.saturating_sub(bytes).into();
    }
    Ok(serde_json::to_string_pretty(&index)? + "\n")
}
