//! The checkpoint's own files behind an attached pack.

use std::{io::ErrorKind, path::Path};

use engram_format::{Digest, Manifest, RowId, SourceFile, Table, seal};
use engram_io::{Access, IoError, ReadAt};

use super::{
    files::{PackFiles, check_digest, check_size},
    opened::Opened,
};
use crate::{
    config::{Config, Reader, Resident},
    error::OpenError,
};

/// Safetensors readers refuse longer headers.
const MAX_SOURCE_HEADER: u64 = 100_000_000;
/// Known rows of each table that are compared when an attached pack is opened.
const SAMPLES_AT_OPEN: usize = 32;

pub(super) fn open(
    manifest: &Manifest,
    files: &PackFiles,
    config: &Config,
) -> Result<Opened, OpenError> {
    if config.resident != Resident::None {
        return Err(OpenError::NoColumns);
    }
    let readers = files.paths.iter().zip(&manifest.sources);
    let readers: Vec<Box<dyn ReadAt>> = readers
        .map(|(path, file)| open_source(path, file, config).map_err(|error| moved(error, path)))
        .collect::<Result<_, _>>()?;
    if config.check_seals {
        for table in &manifest.tables {
            check_samples(table, files, &readers)?;
        }
    }
    let reader = |reader| (!config.fetches()).then_some(reader);
    Ok(Opened {
        readers: readers.into_iter().map(reader).collect(),
        resident: Vec::new(),
    })
}

/// As `error`, or that the checkpoint is not where it was, if that is why the file at `path` is missing.
fn moved(error: OpenError, path: &Path) -> OpenError {
    let is_missing = |cause: &IoError| {
        cause
            .os_error()
            .is_some_and(|cause| cause.kind() == ErrorKind::NotFound)
    };
    match (error, path.parent()) {
        (OpenError::Io(cause), Some(folder)) if is_missing(&cause) => OpenError::CheckpointMoved {
            checkpoint: folder.into(),
            cause,
        },
        (error, _) => error,
    }
}

/// Compares some of the rows whose seals are known: a file may have been written anew with other
/// contents and the same header. All of them would take a slow drive too long; `verify` does that.
fn check_samples(
    table: &Table,
    files: &PackFiles,
    readers: &[Box<dyn ReadAt>],
) -> Result<(), OpenError> {
    let mut bytes = vec![0; table.codec.row_bytes()];
    let step = table.samples.len().div_ceil(SAMPLES_AT_OPEN);
    for sample in table.samples.iter().step_by(step) {
        let row = RowId(sample.row);
        let mut rest = &mut bytes[..];
        for plane in &table.planes {
            let extent = plane.extent(row);
            let (part, after) = rest.split_at_mut(extent.len);
            readers[extent.file as usize].read_at(extent.offset, part)?;
            rest = after;
        }
        let found = seal(table.layer, row, &bytes);
        if found != sample.seal {
            let file = table.planes[0].extent(row).file;
            return Err(OpenError::Changed {
                path: files.paths[file as usize].clone(),
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
    let access = match config.reader {
        // It only checks headers and known rows.
        _ if config.fetches() => Access::Pread,
        Reader::Mmap => Access::Mmap,
        Reader::Memory => Access::Memory,
        Reader::Pread | Reader::Direct | Reader::DirectThreads => Access::Pread,
    };
    let reader = config.file_access.open(path, access)?;
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
