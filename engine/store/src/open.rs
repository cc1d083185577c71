//! Opening a pack: every file is checked against the manifest before a row is served.

mod backend;
mod direct;

use std::{
    fs,
    io::{ErrorKind, Read},
    iter,
    path::{Path, PathBuf},
    sync::Arc,
};

use engram_format::{
    Column, Digest, FormatError, HEADER_BYTES, Hasher, MANIFEST_FILE, Manifest, RowId, SourceFile,
    Storage, TOKEN_MAP_FILE, Table, TokenMap, TokenMapFile, seal, shard_path,
};
use engram_io::{IoError, MemoryReader, MmapReader, PreadReader, ReadAt};

use crate::{
    config::{Config, Reader},
    error::OpenError,
    fetch::{DiskRows, Workers},
    rows::{AttachedRows, Rows, SealedRows, Shard},
};

pub use backend::Backend;

/// Safetensors readers refuse longer headers.
const MAX_SOURCE_HEADER: u64 = 100_000_000;
/// A manifest of more bytes than any limit of the format allows is not read into memory.
const MAX_MANIFEST: u64 = 1 << 30;
/// Known rows of each table that are compared when an attached pack is opened.
const SAMPLES_AT_OPEN: usize = 32;

/// What an open pack is made of.
pub(crate) struct Parts {
    pub(crate) manifest: Manifest,
    pub(crate) hasher: Hasher,
    /// For each table, its rows in memory and those on disk.
    pub(crate) rows: Vec<(Rows, Option<Arc<DiskRows>>)>,
    pub(crate) workers: Option<Workers>,
    pub(crate) backend: Backend,
}

pub(crate) fn open(pack: &Path, config: &Config) -> Result<Parts, OpenError> {
    let manifest = read_manifest(pack)?;
    let hasher = hasher(pack, &manifest)?;
    let folder = match &manifest.storage {
        Storage::Packed => pack,
        Storage::Attached { checkpoint } => config
            .checkpoint
            .as_deref()
            .unwrap_or(Path::new(checkpoint)),
    };
    let rows = match &manifest.storage {
        Storage::Packed => open_shards(pack, &manifest, config)?,
        Storage::Attached { .. } => attach(folder, &manifest, config)?,
    };
    let (rows, workers) = if config.reader.is_direct() {
        let (disk, workers) = direct::open(folder, &manifest, config)?;
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
        Err(OpenError::Io(IoError::Os { source, .. })) if source.kind() == ErrorKind::NotFound => {
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
    let os = |source| IoError::Os {
        action: "read",
        path: path.into(),
        source,
    };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(os)?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(os)?;
    if bytes.len() as u64 > most {
        return Err(in_file(path)(FormatError::Size {
            found: file_size(path)?,
            expected: most,
        }));
    }
    Ok(bytes)
}

fn open_reader(path: &Path, config: &Config) -> Result<Box<dyn ReadAt>, IoError> {
    Ok(match config.reader {
        Reader::Mmap => Box::new(MmapReader::open(path)?),
        Reader::Memory => Box::new(MemoryReader::open(path)?),
        // For direct reads it only checks headers.
        Reader::Pread | Reader::Direct | Reader::DirectThreads => {
            Box::new(PreadReader::open(path)?)
        }
    })
}

fn open_shards(pack: &Path, manifest: &Manifest, config: &Config) -> Result<Vec<Rows>, OpenError> {
    let tables = manifest.tables.iter().enumerate();
    tables
        .map(|(index, table)| {
            let columns = manifest.scheme.columns(index);
            let shards = columns.map(|column| open_shard(pack, table, column, config));
            Ok(Rows::Sealed(SealedRows {
                layer: table.layer,
                layout: table.layout(),
                shards: shards.collect::<Result<_, _>>()?,
            }))
        })
        .collect()
}

fn open_shard(
    pack: &Path,
    table: &Table,
    column: Column,
    config: &Config,
) -> Result<Shard, OpenError> {
    let path = pack.join(shard_path(table.layer, &column));
    // Mapping an empty file fails; reading its size does not.
    check_size(&path, table.layout().shard_bytes(column.row_count))?;
    let reader = open_reader(&path, config)?;
    let mut block = [0; HEADER_BYTES];
    reader.read_at(0, &mut block)?;
    table.header(column).check(&block).map_err(in_file(&path))?;
    let reader = (!config.reader.is_direct()).then_some(reader);
    Ok(Shard { path, reader })
}

fn attach(folder: &Path, manifest: &Manifest, config: &Config) -> Result<Vec<Rows>, OpenError> {
    let sources = manifest.sources.iter();
    let sources: Arc<[_]> = sources
        .map(|file| open_source(&folder.join(&file.name), file, config))
        .collect::<Result<_, _>>()?;
    let tables = manifest.tables.iter();
    tables
        .map(|table| {
            let mut rows = AttachedRows {
                planes: table.planes.clone(),
                sources: sources.clone(),
            };
            if config.check_seals {
                check_samples(folder, manifest, table, &rows)?;
            }
            if config.reader.is_direct() {
                rows.sources = Arc::default();
            }
            Ok(Rows::Attached(rows))
        })
        .collect()
}

/// Compares some of the rows whose seals are known: a file may have been written anew with other
/// contents and the same header. All of them would take a slow drive too long; `verify` does that.
fn check_samples(
    folder: &Path,
    manifest: &Manifest,
    table: &Table,
    rows: &AttachedRows,
) -> Result<(), OpenError> {
    let mut bytes = vec![0; table.codec.row_bytes()];
    let step = table.samples.len().div_ceil(SAMPLES_AT_OPEN);
    for sample in table.samples.iter().step_by(step) {
        let row = RowId(sample.row);
        rows.read(row, &mut bytes)?;
        let found = seal(table.layer, row, &bytes);
        if found != sample.seal {
            let source = table.planes[0].segment_of(row).source as usize;
            return Err(OpenError::Changed {
                path: folder.join(&manifest.sources[source].name),
                layer: table.layer,
                row,
                found,
                expected: sample.seal,
            });
        }
    }
    Ok(())
}

fn open_source(
    path: &Path,
    file: &SourceFile,
    config: &Config,
) -> Result<Box<dyn ReadAt>, OpenError> {
    check_size(path, file.bytes)?;
    let reader = open_reader(path, config)?;
    let mut length = [0; 8];
    reader.read_at(0, &mut length)?;
    let header_bytes = u64::from_le_bytes(length).min(MAX_SOURCE_HEADER) + 8;
    let mut header =
        vec![0; usize::try_from(header_bytes.min(file.bytes)).expect("it is below 2^27")];
    reader.read_at(0, &mut header)?;
    check_digest(
        path,
        "safetensors header",
        Digest::of(&header),
        file.header_digest,
    )?;
    Ok(reader)
}

fn file_size(path: &Path) -> Result<u64, IoError> {
    let metadata = fs::metadata(path).map_err(|source| IoError::Os {
        action: "open",
        path: path.into(),
        source,
    })?;
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
