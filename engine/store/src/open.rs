//! Opening a pack: every file is checked against the manifest before a row is served.

mod attached;
mod backend;
mod direct;
mod resident;
mod shards;

use std::{
    fs,
    io::{ErrorKind, Read},
    iter,
    path::{Path, PathBuf},
    sync::Arc,
};

use engram_format::{
    Digest, FormatError, Hasher, MANIFEST_FILE, MAX_PROFILE_BYTES, Manifest, Profile, Storage,
    TOKEN_MAP_FILE, TokenMap, TokenMapFile, WindowRules,
};
use engram_io::{IoError, MemoryReader, MmapReader, PreadReader, ReadAt};

use crate::{
    config::{Config, Reader},
    error::OpenError,
    fetch::{DiskRows, Workers},
    rows::Rows,
};

pub use backend::Backend;

/// A manifest of more bytes than any limit of the format allows is not read into memory.
const MAX_MANIFEST: u64 = 1 << 30;

/// What an open pack is made of.
pub(crate) struct Parts {
    pub(crate) manifest: Manifest,
    pub(crate) hasher: Hasher,
    pub(crate) profile: Option<Profile>,
    /// For each table, its rows in memory and those on disk.
    pub(crate) rows: Vec<(Rows, Option<Arc<DiskRows>>)>,
    pub(crate) workers: Option<Workers>,
    pub(crate) backend: Backend,
}

pub(crate) fn open(pack: &Path, config: &Config) -> Result<Parts, OpenError> {
    let manifest = read_manifest(pack)?;
    let hasher = hasher(pack, &manifest)?;
    let profile = config.profile.as_deref();
    let profile = profile
        .map(|path| read_profile_of(path, &hasher))
        .transpose()?;
    let folder = match &manifest.storage {
        Storage::Packed => pack,
        Storage::Attached { checkpoint } => config
            .checkpoint
            .as_deref()
            .unwrap_or(Path::new(checkpoint)),
    };
    let rows = match &manifest.storage {
        Storage::Packed => shards::open(pack, &manifest, config, profile.as_ref())?,
        Storage::Attached { .. } => attached::open(folder, &manifest, config)?,
    };
    let (rows, workers) = if config.reader.is_direct() {
        let (disk, workers) = direct::open(folder, &manifest, &rows, config)?;
        (
            rows.into_iter().zip(disk.into_iter().map(Some)).collect(),
            Some(workers),
        )
    } else {
        (rows.into_iter().zip(iter::repeat(None)).collect(), None)
    };
    Ok(Parts {
        backend: Backend::new(config.reader, workers.as_ref()),
        manifest,
        hasher,
        profile,
        rows,
        workers,
    })
}

/// Reads the manifest of the pack in the folder `pack`, and nothing else.
///
/// # Errors
/// A manifest that is missing, damaged or newer.
pub fn read_manifest(pack: impl AsRef<Path>) -> Result<Manifest, OpenError> {
    let pack = pack.as_ref();
    let path = pack.join(MANIFEST_FILE);
    match read_file(&path, MAX_MANIFEST) {
        Err(OpenError::Io(error))
            if error
                .os_error()
                .is_some_and(|e| e.kind() == ErrorKind::NotFound) =>
        {
            Err(OpenError::NotAPack { path: pack.into() })
        }
        read => Manifest::from_text(&read?).map_err(in_file(&path)),
    }
}

/// What turns tokens into the row ids of the pack in the folder `pack`; no shard need be there.
///
/// # Errors
/// A manifest or token map that is missing or damaged, or that do not fit each other.
pub fn read_hasher(pack: impl AsRef<Path>) -> Result<Hasher, OpenError> {
    let pack = pack.as_ref();
    hasher(pack, &read_manifest(pack)?)
}

/// Reads and checks the profile at `path`, whatever model it is of.
///
/// # Errors
/// A file that is missing, damaged or newer, or no profile.
pub fn read_profile(path: impl AsRef<Path>) -> Result<Profile, OpenError> {
    let path = path.as_ref();
    Profile::from_bytes(&read_file(path, MAX_PROFILE_BYTES)?).map_err(in_file(path))
}

/// The profile at `path`, which must be of what `hasher` hashes.
fn read_profile_of(path: &Path, hasher: &Hasher) -> Result<Profile, OpenError> {
    let profile = read_profile(path)?;
    let rules = WindowRules::of(hasher);
    profile.rules().check(&rules).map_err(in_file(path))?;
    Ok(profile)
}

fn hasher(pack: &Path, manifest: &Manifest) -> Result<Hasher, OpenError> {
    let vocab_size = manifest.scheme.hashed_vocab_size;
    let token_map = manifest.token_map.as_ref();
    let token_map = token_map
        .map(|file| read_token_map(pack, file, vocab_size))
        .transpose()?;
    Hasher::new(manifest.scheme.clone(), token_map).map_err(|source| OpenError::Scheme {
        path: pack.into(),
        source,
    })
}

fn read_token_map(
    pack: &Path,
    file: &TokenMapFile,
    vocab_size: u32,
) -> Result<TokenMap, OpenError> {
    let path = pack.join(TOKEN_MAP_FILE);
    check_size(&path, 4 * file.entries)?;
    let bytes = read_file(&path, 4 * file.entries)?;
    check_digest(&path, "token map", Digest::of(&bytes), file.digest)?;
    TokenMap::from_bytes(&bytes, vocab_size).map_err(|e| in_file(&path)(e.into()))
}

/// The bytes of a file of at most `most`.
fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, OpenError> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(IoError::os("open", path))?;
    let read = file.take(most + 1).read_to_end(&mut bytes);
    read.map_err(IoError::os("read", path))?;
    if bytes.len() as u64 > most {
        return Err(in_file(path)(FormatError::Size {
            found: file_size(path)?,
            expected: most,
        }));
    }
    Ok(bytes)
}

fn open_reader(path: &Path, reader: Reader) -> Result<Box<dyn ReadAt>, IoError> {
    Ok(match reader {
        Reader::Mmap => Box::new(MmapReader::open(path)?),
        Reader::Memory => Box::new(MemoryReader::open(path)?),
        // For direct reads it only checks headers.
        Reader::Pread | Reader::Direct | Reader::DirectThreads => {
            Box::new(PreadReader::open(path)?)
        }
    })
}

fn file_size(path: &Path) -> Result<u64, IoError> {
    let metadata = fs::metadata(path).map_err(IoError::os("open", path))?;
    Ok(metadata.len())
}

fn check_size(path: &Path, expected: u64) -> Result<(), OpenError> {
    let found = file_size(path)?;
    if found == expected {
        return Ok(());
    }
    Err(in_file(path)(FormatError::Size { found, expected }))
}

fn check_digest(
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

fn in_file(path: &Path) -> impl FnOnce(FormatError) -> OpenError {
    let path = PathBuf::from(path);
    move |source| OpenError::Format { path, source }
}
