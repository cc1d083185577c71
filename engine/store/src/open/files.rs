//! The files of a pack, and small checks of a file.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use engram_format::{Digest, FormatError, Manifest, Storage};
use engram_io::{IoError, parallel};

use super::stripes::shard_paths;
use crate::error::OpenError;

/// The files that the rows of a pack lie in.
#[derive(Debug)]
pub(super) struct PackFiles {
    /// In the order of [`Extent::file`](engram_format::Extent::file).
    pub(super) paths: Arc<[PathBuf]>,
    /// For each table, its first file; the others follow. 0 in an attached pack, whose tables share files.
    pub(super) first_files: Vec<u32>,
    /// The stripe of each file, which stands for a drive; none where the pack's own folder has all.
    pub(super) drives: Arc<[u32]>,
}

impl PackFiles {
    /// The files in `folder`, the pack's own or the checkpoint's, and in the stripes of the pack, of which some may
    /// have `moved`.
    ///
    /// # Errors
    /// A moved stripe that the pack has not.
    pub(super) fn new(
        folder: &Path,
        manifest: &Manifest,
        moved: &BTreeMap<u32, PathBuf>,
    ) -> Result<Self, OpenError> {
        let shards = shard_paths(folder, manifest, moved)?;
        let mut paths = Vec::new();
        let mut drives = Vec::new();
        let mut first_files = vec![0; manifest.tables.len()];
        match manifest.storage {
            Storage::Packed => {
                for (index, shards) in shards.into_iter().enumerate() {
                    first_files[index] =
                        u32::try_from(paths.len()).expect("a million columns at most");
                    let columns = 0..shards.len();
                    drives.extend(columns.filter_map(|column| manifest.stripe_of(index, column)));
                    paths.extend(shards);
                }
            }
            Storage::Attached { .. } => {
                paths.extend(
                    manifest
                        .sources
                        .iter()
                        .map(|source| folder.join(&source.name)),
                );
            }
        }
        Ok(Self {
            paths: paths.into(),
            first_files,
            drives: drives.into(),
        })
    }

    /// The stripe whose file `error` is about.
    pub(super) fn stripe_of(&self, error: &IoError) -> Option<u32> {
        let IoError::Os { path, .. } = error else {
            return None;
        };
        let file = self.paths.iter().position(|known| known == path)?;
        self.drives.get(file).copied()
    }
}

/// An open that takes longer than this takes longer than it would to start a thread.
const SLOW: Duration = Duration::from_millis(1);
/// Threads that open files where that is slow, because another machine or a process serves them.
const OPENERS: usize = 32;

/// Does `open` with each of `items`, several at a time where the first has been slow.
pub(super) fn open_each<T: Sync, R: Send, E: Send>(
    items: &[T],
    open: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let Some((first, others)) = items.split_first() else {
        return Ok(Vec::new());
    };
    let began = Instant::now();
    let mut opened = vec![open(first)?];
    let threads = if began.elapsed() > SLOW { OPENERS } else { 1 };
    opened.extend(parallel::map(threads, others, open)?);
    Ok(opened)
}

/// The bytes of a file of at most `most`, which is `what`.
pub(super) fn read_file(path: &Path, what: &'static str, most: u64) -> Result<Vec<u8>, OpenError> {
    engram_io::read_file(path, most).map_err(|error| match error {
        IoError::TooLarge { found, most, .. } => {
            in_file(path)(FormatError::TooLong { what, found, most })
        }
        error => error.into(),
    })
}

fn file_size(path: &Path) -> Result<u64, IoError> {
    let metadata = fs::metadata(path).map_err(IoError::os("open", path))?;
    Ok(metadata.len())
}

pub(super) fn check_size(path: &Path, expected: u64) -> Result<(), OpenError> {
    let found = file_size(path)?;
    if found == expected {
        return Ok(());
    }
    Err(in_file(path)(FormatError::Size { found, expected }))
}

pub(super) fn check_digest(
    path: &Path,
    what: &'static str,
    found: Digest,
    expected: Digest,
) -> Result<(), OpenError> {
    if found == expected {
        return Ok(());
    }
    Err(in_file(path)(FormatError::Checksum {
        what,
        found: found.to_string(),
        expected: expected.to_string(),
    }))
}

pub(super) fn in_file(path: &Path) -> impl FnOnce(FormatError) -> OpenError {
    let path = PathBuf::from(path);
    move |cause| OpenError::Format { path, cause }
}
