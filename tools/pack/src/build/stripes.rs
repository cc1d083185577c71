//! The folders that a pack's shards are spread over.

use std::{
    fs,
    path::{Component, Path, PathBuf, absolute},
};

use anyhow::{Context, Result, bail, ensure};
use engram_format::{PACK_FOLDER, Stripes};
use engram_io::IoError;

/// The stripes of a pack, and those of their folders that lie outside of it.
pub(crate) struct Striping {
    pub(crate) stripes: Option<Stripes>,
    pub(crate) outside: Vec<PathBuf>,
}

impl Striping {
    /// Spreads as many columns of as many tables over `folders` in turns; none for the pack's own.
    ///
    /// # Errors
    /// A folder that is given twice, or lies in another one that does not hold it as its own; more than there are
    /// columns.
    pub(crate) fn new(
        [tables, columns]: [usize; 2],
        pack: &Path,
        folders: &[PathBuf],
    ) -> Result<Self> {
        let mut outside: Vec<PathBuf> = Vec::new();
        if folders.is_empty() {
            let stripes = None;
            return Ok(Self { stripes, outside });
        }
        ensure!(
            folders.len() <= tables * columns,
            "{} stripes for {} columns: some would be empty",
            folders.len(),
            tables * columns
        );
        let pack = plain(pack)?;
        let mut recorded: Vec<String> = Vec::new();
        for folder in folders {
            let folder = plain(folder)?;
            let name = match folder.strip_prefix(&pack) {
                // It moves with the pack.
                Ok(within) if within.as_os_str().is_empty() => PACK_FOLDER.into(),
                Ok(within) => text(within)?,
                Err(_) => {
                    let nests = |other: &PathBuf| {
                        *other != folder
                            && (folder.starts_with(other) || other.starts_with(&folder))
                    };
                    if let Some(other) = outside.iter().chain([&pack]).find(|other| nests(other)) {
                        bail!(
                            "of the folders {} and {} one lies in the other; a stripe needs a folder of its own",
                            folder.display(),
                            other.display()
                        );
                    }
                    outside.push(folder.clone());
                    text(&folder)?
                }
            };
            ensure!(
                !recorded.contains(&name),
                "{} is given twice as a stripe",
                folder.display()
            );
            recorded.push(name);
        }
        Ok(Self {
            stripes: Some(Stripes::in_turns(recorded, tables, columns)),
            outside,
        })
    }
}

/// `path` from the root on, with its links, so that one can be pointed elsewhere, but with nothing that leads back.
fn plain(path: &Path) -> Result<PathBuf> {
    let absolute = absolute(path).map_err(IoError::os("find", path))?;
    let mut plain = PathBuf::new();
    for component in absolute.components() {
        if component == Component::ParentDir {
            // What is above a link is what is above its target.
            plain = fs::canonicalize(&plain).map_err(IoError::os("find", &plain))?;
            plain.pop();
        } else {
            plain.push(component);
        }
    }
    Ok(plain)
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str();
    let text = text.with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.into())
}
