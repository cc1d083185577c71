//! The checkpoint's own files behind an attached pack.

use std::{path::Path, sync::Arc};

use engram_format::{Digest, Manifest, RowId, SourceFile, Table, seal};
use engram_io::ReadAt;

use super::{check_digest, check_size, open_reader};
use crate::{
    config::{Config, Resident},
    error::OpenError,
    rows::{AttachedRows, Rows},
};

/// Safetensors readers refuse longer headers.
const MAX_SOURCE_HEADER: u64 = 100_000_000;
/// Known rows of each table that are compared when an attached pack is opened.
const SAMPLES_AT_OPEN: usize = 32;

pub(super) fn open(
    folder: &Path,
    manifest: &Manifest,
    config: &Config,
) -> Result<Vec<Rows>, OpenError> {
    if config.resident != Resident::None {
        return Err(OpenError::NoColumns);
    }
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
    let reader = open_reader(path, config.reader)?;
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
