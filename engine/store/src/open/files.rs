//! The files of a pack, and small checks of a file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use engram_format::{Column, Digest, FormatError, Manifest, Storage};
use engram_io::{IoError, parallel};

use super::{attached, stripes::shard_paths};
use crate::error::OpenError;

/// The files that the rows of a pack lie in.
#[derive(Debug)]
pub(crate) struct PackFiles {
    /// In the order of [`Extent::file`](engram_format::Extent::file).
    pub(crate) paths: Arc<[PathBuf]>,
    /// For each table, the file of its first open column; the others follow. 0 in an attached pack, whose tables share
    /// files.
    pub(super) first_files: Vec<u32>,
    /// Of an attached pack, the index of each file in [`Manifest::sources`].
    pub(super) sources: Vec<usize>,
    /// The stripe of each file; none where the pack's own folder has all.
    stripes: Vec<u32>,
    /// The drive of each file, counted without gaps; none where there is one. Each stripe stands for one.
    pub(super) drives: Arc<[u32]>,
}

impl PackFiles {
    /// The files of the open `columns` of each table in `folder`, the pack's own or the checkpoint's, and in the
    /// stripes of the pack, of which some may have `moved`.
    ///
    /// # Errors
    /// A moved stripe that the pack has not.
    pub(super) fn new(
        folder: &Path,
        manifest: &Manifest,
        columns: &[Arc<[Column]>],
        moved: &BTreeMap<u32, PathBuf>,
    ) -> Result<Self, OpenError> {
        let shards = shard_paths(folder, manifest, moved)?;
        let mut paths = Vec::new();
        let (mut sources, mut stripes) = (Vec::new(), Vec::new());
        let mut first_files = vec![0; manifest.tables.len()];
        match manifest.storage {
            Storage::Packed | Storage::Cold { .. } => {
                for (index, columns) in columns.iter().enumerate() {
                    first_files[index] =
                        u32::try_from(paths.len()).expect("a million columns at most");
                    let columns = || columns.iter().map(|column| column.index as usize);
                    stripes.extend(columns().filter_map(|at| manifest.stripe_of(index, at)));
                    paths.extend(columns().map(|at| shards[index][at].clone()));
                }
            }
            Storage::Attached { .. } => {
                sources = attached::sources_of(manifest, columns);
                let names = sources.iter().map(|&source| &manifest.sources[source].name);
                paths.extend(names.map(|name| folder.join(name)));
            }
        }
        Ok(Self {
            paths: paths.into(),
            first_files,
            sources,
            drives: without_gaps(&stripes).into(),
            stripes,
        })
    }

    /// The stripe whose file `error` is about.
    pub(super) fn stripe_of(&self, error: &IoError) -> Option<u32> {
        let IoError::Os { path, .. } = error else {
            return None;
        };
        let file = self.paths.iter().position(|known| known == path)?;
        self.stripes.get(file).copied()
    }
}

/// The numbers counted without gaps; none where all are the same.
fn without_gaps(numbers: &[u32]) -> Vec<u32> {
    let different: BTreeSet<u32> = numbers.iter().copied().collect();
    if different.len() < 2 {
        return Vec::new();
    }
    let ranks: BTreeMap<u32, u32> = different.into_iter().zip(0..).collect();
    numbers.iter().map(|number| ranks[number]).collect()
}

/// An open that takes longer than this takes longer than it would to start a thread.
const SLOW: Duration = Duration::from_millis(1);
/// Threads that open files where that is slow, because another machine or a process serves them.
const OPENERS: usize = 32;

/// Does `open` with each of `items`, several at a time where the first has been slow.
pub(crate) fn open_each<T: Sync, R: Send, E: Send>(
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
