//! Opening a pack: every file is checked against the manifest before a row is served.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use engram_format::{
    Column, Digest, FormatError, HEADER_BYTES, Hasher, MANIFEST_FILE, Manifest, SourceFile,
    Storage, TOKEN_MAP_FILE, Table, TokenMap, TokenMapFile, shard_path,
};
use engram_io::{IoError, MemoryReader, MmapReader, PreadReader, ReadAt};

use crate::{
    config::{Config, Reader},
    error::OpenError,
    rows::{AttachedRows, Rows, SealedRows, Shard},
};

/// Safetensors readers refuse longer headers.
const MAX_SOURCE_HEADER: u64 = 100_000_000;

/// What an open pack is made of.
pub(crate) struct Parts {
    pub(crate) manifest: Manifest,
    pub(crate) hasher: Hasher,
    /// One for each table.
    pub(crate) rows: Vec<Rows>,
}

pub(crate) fn open(pack: &Path, config: &Config) -> Result<Parts, OpenError> {
    let manifest = read_manifest(pack)?;
    let token_map = manifest.token_map.as_ref();
    let token_map = token_map
        .map(|file| read_token_map(pack, file, manifest.scheme.hashed_vocab_size))
        .transpose()?;
    let hasher =
        Hasher::new(manifest.scheme.clone(), token_map).map_err(|source| OpenError::Scheme {
            path: pack.into(),
            source,
        })?;
    let rows = match &manifest.storage {
        Storage::Packed => open_shards(pack, &manifest, config)?,
        Storage::Attached { checkpoint } => {
            let folder = config
                .checkpoint
                .as_deref()
                .unwrap_or(Path::new(checkpoint));
            attach(folder, &manifest, config)?
        }
    };
    Ok(Parts {
        manifest,
        hasher,
        rows,
    })
}

fn read_manifest(pack: &Path) -> Result<Manifest, OpenError> {
    let path = pack.join(MANIFEST_FILE);
    let text = match fs::read(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(OpenError::NotAPack { path: pack.into() });
        }
        read => read.map_err(|source| IoError::Os {
            action: "read",
            path: path.clone(),
            source,
        })?,
    };
    Manifest::from_text(&text).map_err(in_file(&path))
}

fn read_token_map(
    pack: &Path,
    file: &TokenMapFile,
    vocab_size: u32,
) -> Result<TokenMap, OpenError> {
    let path = pack.join(TOKEN_MAP_FILE);
    let reader = MemoryReader::open(&path)?;
    check_size(&path, &reader, 4 * file.entries)?;
    let mut bytes = vec![0; usize::try_from(reader.size()).expect("it is in memory")];
    reader.read_at(0, &mut bytes)?;
    check_digest(&path, "token map", Digest::of(&bytes), file.digest)?;
    TokenMap::from_bytes(&bytes, vocab_size).map_err(|e| in_file(&path)(e.into()))
}

fn open_reader(path: &Path, config: &Config) -> Result<Box<dyn ReadAt>, IoError> {
    Ok(match config.reader {
        Reader::Mmap => Box::new(MmapReader::open(path)?),
        Reader::Pread => Box::new(PreadReader::open(path)?),
        Reader::Memory => Box::new(MemoryReader::open(path)?),
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
    let size = file_size(&path)?;
    let expected = table.layout().shard_bytes(column.row_count);
    if size != expected {
        return Err(in_file(&path)(FormatError::Size {
            found: size,
            expected,
        }));
    }
    let reader = open_reader(&path, config)?;
    let mut block = [0; HEADER_BYTES];
    reader.read_at(0, &mut block)?;
    table.header(column).check(&block).map_err(in_file(&path))?;
    Ok(Shard { path, reader })
}

fn attach(folder: &Path, manifest: &Manifest, config: &Config) -> Result<Vec<Rows>, OpenError> {
    let sources = manifest.sources.iter();
    let sources: Arc<[_]> = sources
        .map(|file| open_source(&folder.join(&file.name), file, config))
        .collect::<Result<_, _>>()?;
    let rows = manifest.tables.iter().map(|table| {
        Rows::Attached(AttachedRows {
            planes: table.planes.clone(),
            sources: sources.clone(),
        })
    });
    Ok(rows.collect())
}

fn open_source(
    path: &Path,
    file: &SourceFile,
    config: &Config,
) -> Result<Box<dyn ReadAt>, OpenError> {
    let size = file_size(path)?;
    if size != file.bytes {
        return Err(in_file(path)(FormatError::Size {
            found: size,
            expected: file.bytes,
        }));
    }
    let reader = open_reader(path, config)?;
    let mut length = [0; 8];
    reader.read_at(0, &mut length)?;
    let header_bytes = u64::from_le_bytes(length).min(MAX_SOURCE_HEADER) + 8;
    let mut header = vec![0; usize::try_from(header_bytes.min(size)).expect("it is below 2^27")];
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

fn check_size(path: &Path, reader: &dyn ReadAt, expected: u64) -> Result<(), OpenError> {
    if reader.size() == expected {
        return Ok(());
    }
    Err(in_file(path)(FormatError::Size {
        found: reader.size(),
        expected,
    }))
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
