//! Where the storages lie.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use engram_bench::cold::evict;

/// Where the storages made from `pack` lie.
pub fn folder(pack: &Path) -> PathBuf {
    let mut name = pack.as_os_str().to_owned();
    name.push(".peers");
    name.into()
}

/// Asks the system to forget the contents of all files of `folder`.
pub fn evict_folder(folder: &Path) -> Result<()> {
    let files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    evict(&files.collect::<Result<Vec<_>>>()?)
}
