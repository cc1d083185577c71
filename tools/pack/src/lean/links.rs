//! Links to the files that a lean checkpoint shares with the one that it was made from.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::Result;
use engram_io::{IoError, create_folder};

/// How many files were linked.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) hard_links: usize,
    pub(super) symbolic_links: usize,
}

/// Makes links in the folder `to` to all files in `from` and the folders below it, but for the `files` and what lies in
/// the `folders`. They are hard links where both are on one file system that has them, so that `from` may be removed.
pub(super) fn link_files(
    from: &Path,
    to: &Path,
    files: &BTreeSet<PathBuf>,
    folders: &[&Path],
) -> Result<Links> {
    let mut links = Links::default();
    let folders = folders.iter().map(|folder| resolve(folder));
    let folders: Vec<PathBuf> = folders.collect::<Result<_, _>>()?;
    links.folder(from, to, files, &folders)?;
    Ok(links)
}

/// Makes such links to the files of these `names` in `from` that are there, but for the `files`.
pub(super) fn link_named(
    from: &Path,
    to: &Path,
    names: &[String],
    files: &BTreeSet<PathBuf>,
) -> Result<Links> {
    let mut links = Links::default();
    for name in names {
        let path = from.join(name);
        if !files.contains(&path) && path.exists() {
            links.file(&resolve(&path)?, &to.join(name))?;
        }
    }
    Ok(links)
}

/// What a link points to: the files of a hub's cache are links themselves.
fn resolve(path: &Path) -> Result<PathBuf, IoError> {
    path.canonicalize().map_err(IoError::os("resolve", path))
}

impl Links {
    fn folder(
        &mut self,
        from: &Path,
        to: &Path,
        files: &BTreeSet<PathBuf>,
        folders: &[PathBuf],
    ) -> Result<()> {
        create_folder(to)?;
        for entry in fs::read_dir(from).map_err(IoError::os("list the folder", from))? {
            let entry = entry.map_err(IoError::os("list the folder", from))?;
            let (path, link) = (entry.path(), to.join(entry.file_name()));
            let real = resolve(&path)?;
            if files.contains(&path) || folders.contains(&real) {
                continue;
            }
            if real.is_dir() {
                self.folder(&path, &link, files, folders)?;
            } else {
                self.file(&real, &link)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, real: &Path, link: &Path) -> Result<()> {
        if fs::hard_link(real, link).is_ok() {
            self.hard_links += 1;
        } else {
            symlink(real, link).map_err(IoError::os("link", link))?;
            self.symbolic_links += 1;
        }
        Ok(())
    }
}
