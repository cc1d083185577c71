//! Makes the checkpoint again that a lean one was made from.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use engram::read_manifest;
use engram_checkpoint::INDEX_FILE;
use engram_format::{Digest, Digester};
use engram_io::{NewFile, parallel, publish_bytes};
use engram_kit::parallel::default_jobs;
use serde::Serialize;

use super::{
    check_not_cold,
    links::{Links, link_files},
    pack_rows::PackRows,
    rebuild::rebuild,
    record::{LEAN_FILE, LeanFile, LeanRecord, rest_name},
};
use crate::{
    Progress,
    claim::{Claim, Work},
};

const RESTORE: Work = Work {
    name: "restore",
    mark: "restore.unfinished",
    is_leaving: |_| true,
};

/// Where the rows are.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// Folder of the pack, where it does not lie where it did.
    pub pack: Option<PathBuf>,
    /// Folders of stripes that have moved.
    pub stripes: BTreeMap<u32, PathBuf>,
}

/// What was made.
#[derive(Debug, Clone, Serialize)]
pub struct RestoreReport {
    /// Files with tables.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Other files, which are hard links.
    pub hard_links: usize,
    /// Other files on another file system, which are symbolic links.
    pub symbolic_links: usize,
}

/// Bytes that [`restore`] makes of the lean checkpoint in the folder `lean`, for progress.
///
/// # Errors
/// A folder that is no lean checkpoint.
pub fn restored_bytes(lean: &Path) -> Result<u64> {
    Ok(LeanRecord::read(lean)?.bytes())
}

/// Writes to the folder `out` the checkpoint from which the lean one in the folder `lean` was made, to the bit. Rows
/// come from the pack that it names, or from where `options` say that it lies now. `progress` counts bytes.
///
/// # Errors
/// A folder that is no lean checkpoint, another or a damaged pack, a moved stripe that it has not, a folder that is not
/// empty, a file that cannot be read or written, or a file that would differ. What was made until then is removed.
pub fn restore(
    lean: &Path,
    options: &RestoreOptions,
    out: &Path,
    progress: Progress<'_>,
) -> Result<RestoreReport> {
    let record = LeanRecord::read(lean)?;
    let pack = options.pack.as_ref().unwrap_or(&record.pack.path);
    let manifest = read_manifest(pack)?;
    check_not_cold(pack, &manifest)?;
    let found = Digest::of(manifest.to_text().as_bytes());
    ensure!(
        found == record.pack.manifest,
        "{} is another pack: the digest of its manifest is {found}, {} says {}",
        pack.display(),
        lean.join(LEAN_FILE).display(),
        record.pack.manifest,
    );
    let rows = PackRows::new(pack, &manifest, &options.stripes)?;
    let claim = Claim::take(out, &RESTORE, || Ok(()))?;
    claim.begin(RESTORE.name)?;
    match fill(lean, &record, &rows, out, progress) {
        Ok(report) => claim.end().map(|()| report),
        Err(error) => {
            claim.abandon();
            Err(error)
        }
    }
}

fn fill(
    lean: &Path,
    record: &LeanRecord,
    rows: &PackRows<'_>,
    out: &Path,
    progress: Progress<'_>,
) -> Result<RestoreReport> {
    parallel::map(default_jobs(), &record.files, |file| {
        write_file(file, rows, lean, out, progress)
    })?;
    if let Some(index) = &record.index {
        publish_bytes(&out.join(INDEX_FILE), index.as_bytes())?;
    }
    let names = record
        .files
        .iter()
        .flat_map(|file| [file.name.clone(), rest_name(&file.name)]);
    let names = names.chain([INDEX_FILE, LEAN_FILE].map(str::to_owned));
    let others: BTreeSet<_> = names.map(|name| lean.join(name)).collect();
    let Links {
        hard_links,
        symbolic_links,
    } = link_files(lean, out, &others, &[out])?;
    Ok(RestoreReport {
        files: record.files.len(),
        bytes: record.bytes(),
        hard_links,
        symbolic_links,
    })
}

fn write_file(
    file: &LeanFile,
    rows: &PackRows<'_>,
    lean: &Path,
    out: &Path,
    progress: Progress<'_>,
) -> Result<()> {
    let path = out.join(&file.name);
    let mut new = NewFile::create(&path, file.bytes)?;
    let (mut digester, mut bytes) = (Digester::new(), 0);
    let made = rebuild(file, rows, lean, &mut |chunk| {
        bytes += chunk.len() as u64;
        if bytes > file.bytes {
            bail!("it would be longer than {} bytes", file.bytes);
        }
        digester.update(chunk);
        progress(chunk.len() as u64);
        Ok(new.write(chunk)?)
    });
    made.with_context(|| format!("cannot make {} again", path.display()))?;
    let found = digester.finish();
    ensure!(
        bytes == file.bytes && found == file.digest,
        "{} would not be what it was: {bytes} bytes with the digest {found}, expected {} with {}",
        path.display(),
        file.bytes,
        file.digest,
    );
    Ok(new.publish()?)
}
