//! The checkpoint's own files behind an attached pack.

use std::{
    collections::BTreeSet,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use engram_format::{
    Column, Digest, Digester, Extent, Manifest, Plane, RowId, Sample, Segment, SourceFile, Storage,
    Table, seal,
};
use engram_io::{Access, ReadAt, WatchedFile};

use super::{
    files::{PackFiles, check_digest, check_size, open_each},
    opened::Opened,
};
use crate::{
    config::{Config, Reader, Resident},
    error::OpenError,
    lookup::rows_of,
    resolve::RowRef,
    source::Source,
    tier::TierFile,
};

/// Safetensors readers refuse longer headers.
const MAX_SAFETENSORS_HEADER: u64 = 100_000_000;
/// Bytes of a header that are read at a time.
const PIECE_BYTES: usize = 1 << 20;
/// Known rows of each table that are compared when an attached pack is opened.
const SAMPLES_AT_OPEN: usize = 32;

/// The files that have rows of the open `columns` of each table: indexes in [`Manifest::sources`].
pub(super) fn sources_of(manifest: &Manifest, columns: &[Arc<[Column]>]) -> Vec<usize> {
    let tables = manifest.tables.iter().zip(columns);
    let segments = tables.flat_map(|(table, columns)| {
        let rows = rows_of(columns);
        let segments = table.planes.iter().flat_map(|plane| &plane.segments);
        segments.filter(move |segment| has_rows(segment, &rows))
    });
    let sources: BTreeSet<usize> = segments.map(|segment| segment.source as usize).collect();
    sources.into_iter().collect()
}

/// Where the rows of the open `columns` of `table` lie in `files`.
pub(super) fn planes_of(table: &Table, columns: &[Column], files: &PackFiles) -> Vec<Plane> {
    let rows = rows_of(columns);
    let planes = table.planes.iter().map(|plane| {
        let segments = plane
            .segments
            .iter()
            .filter(|segment| has_rows(segment, &rows));
        let segments = segments.cloned().map(|mut segment| {
            let file = files.sources.binary_search(&(segment.source as usize));
            let file = file.expect("the files are those of the same columns");
            segment.source = u32::try_from(file).expect("it is at most the index of the source");
            segment
        });
        Plane {
            row_bytes: plane.row_bytes,
            segments: segments.collect(),
        }
    });
    planes.collect()
}

fn has_rows(segment: &Segment, rows: &Range<u64>) -> bool {
    segment.first_row < rows.end && rows.start < segment.first_row + segment.row_count
}

/// Bytes of the files that are loaded whole.
pub(super) fn loaded_bytes(manifest: &Manifest, files: &PackFiles, config: &Config) -> u64 {
    if config.fetches() || config.reader != Reader::Memory {
        return 0;
    }
    let loaded = files.sources.iter();
    loaded.map(|&source| manifest.sources[source].bytes).sum()
}

/// The checkpoint's files, to be watched from before anything of them is checked. None in a packed pack.
pub(super) fn watch(
    manifest: &Manifest,
    files: &PackFiles,
) -> Result<Arc<[WatchedFile]>, OpenError> {
    let paths = match manifest.storage {
        Storage::Packed | Storage::Cold { .. } => &[],
        Storage::Attached { .. } => &*files.paths,
    };
    Ok(open_each(paths, |path| WatchedFile::open(path))?.into())
}

pub(super) fn open(
    manifest: &Manifest,
    files: &PackFiles,
    sources: &[Arc<Source>],
    columns: &[Arc<[Column]>],
    config: &Config,
) -> Result<Opened, OpenError> {
    if config.resident != Resident::None {
        return Err(OpenError::NoColumns);
    }
    let of_files = files
        .sources
        .iter()
        .map(|&source| &manifest.sources[source]);
    let paths: Vec<(&PathBuf, &SourceFile)> = files.paths.iter().zip(of_files).collect();
    let readers = open_each(&paths, |(path, file)| open_source(path, file, config))?;
    if config.check_seals {
        for ((table, source), columns) in manifest.tables.iter().zip(sources).zip(columns) {
            check_samples(table, source, &rows_of(columns), &readers)?;
        }
    }
    let file = |reader| TierFile { reader, copy: None };
    let file = |reader| (!config.fetches()).then_some(file(reader));
    Ok(Opened {
        files: readers.into_iter().map(file).collect(),
        resident: Vec::new(),
    })
}

/// Compares some of the rows whose seals are known: a file may have been written anew with other
/// contents and the same header. All of them would take a slow drive too long; `verify` does that.
fn check_samples(
    table: &Table,
    source: &Source,
    rows: &Range<u64>,
    readers: &[Box<dyn ReadAt>],
) -> Result<(), OpenError> {
    let samples = || {
        table
            .samples
            .iter()
            .filter(|sample| rows.contains(&sample.row))
    };
    let step = samples().count().div_ceil(SAMPLES_AT_OPEN).max(1);
    let samples: Vec<&Sample> = samples().step_by(step).collect();
    open_each(&samples, |sample| {
        // Only packed packs ask for the column of a row.
        let row = RowRef::alone(RowId(sample.row), 0);
        let mut bytes = vec![0; table.codec.row_bytes()];
        let reader = |extent: &Extent| &*readers[extent.file as usize];
        source.read_parts(&row, reader, &mut bytes)?;
        let found = seal(table.layer, row.row_id, &bytes);
        if found == sample.seal {
            return Ok(());
        }
        Err(OpenError::Changed {
            path: source.paths[source.extent(&row, 0).file as usize].clone(),
            layer: table.layer,
            row: row.row_id,
            found,
            expected: sample.seal,
        })
    })?;
    Ok(())
}

fn open_source(
    path: &Path,
    file: &SourceFile,
    config: &Config,
) -> Result<Box<dyn ReadAt>, OpenError> {
    check_size(path, file.bytes)?;
    let access = match config.reader {
        // It only checks headers and known rows.
        _ if config.fetches() => Access::Pread,
        Reader::Mmap => Access::Mmap,
        Reader::Memory => Access::Memory,
        Reader::Pread | Reader::Direct | Reader::DirectThreads => Access::Pread,
    };
    let reader = config.file_access.open(path, access)?;
    let header_bytes = if let Some(bytes) = file.header_bytes {
        bytes
    } else {
        let mut length = [0; 8];
        reader.read_at(0, &mut length)?;
        u64::from_le_bytes(length).min(MAX_SAFETENSORS_HEADER) + 8
    };
    let found = digest_of_start(&*reader, header_bytes.min(file.bytes))?;
    check_digest(path, "header before the tensors", found, file.header_digest)?;
    Ok(reader)
}

/// The digest of the first `bytes` bytes.
fn digest_of_start(reader: &dyn ReadAt, bytes: u64) -> Result<Digest, OpenError> {
    let (mut digester, mut piece, mut at) = (Digester::new(), Vec::new(), 0);
    while at < bytes {
        piece.resize(
            usize::try_from(bytes - at).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES)),
            0,
        );
        reader.read_at(at, &mut piece)?;
        digester.update(&piece);
        at += piece.len() as u64;
    }
    Ok(digester.finish())
}
