//! Makes the bytes of a checkpoint's file again.

use std::path::Path;

use anyhow::{Context, Result};
use engram_io::{PreadReader, ReadAt};

use super::{
    pack_rows::PackRows,
    record::{LeanFile, Piece, rest_name},
};

/// Bytes made at a time.
const CHUNK_BYTES: u64 = 1 << 20;

/// Gives the bytes of `file` to `put`, from front to back, with the help of the lean checkpoint in the folder `lean`.
///
/// # Errors
/// Rows that cannot be had, a file that cannot be read, or what `put` says.
pub(super) fn rebuild(
    file: &LeanFile,
    rows: &PackRows<'_>,
    lean: &Path,
    put: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    if let Some(header) = &file.header {
        put(&(header.len() as u64).to_le_bytes())?;
        put(header.as_bytes())?;
    }
    let (mut kept, mut rest) = (None, None);
    for piece in &file.pieces {
        match *piece {
            Piece::Rows {
                layer,
                plane,
                first_row,
                row_count,
            } => {
                let end = first_row.checked_add(row_count);
                let end = end.context("a piece has more rows than there are numbers")?;
                rows.plane(layer, plane, first_row..end, put)?;
            }
            Piece::Kept { offset, bytes } => {
                copy(&mut kept, &lean.join(&file.name), offset, bytes, put)?;
            }
            Piece::Rest { offset, bytes } => {
                let path = lean.join(rest_name(&file.name));
                copy(&mut rest, &path, offset, bytes, put)?;
            }
        }
    }
    Ok(())
}

/// Gives `bytes` bytes of the file at `path` to `put`. It is opened once, into `open`.
fn copy(
    open: &mut Option<PreadReader>,
    path: &Path,
    offset: u64,
    bytes: u64,
    put: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut chunk = Vec::new();
    let mut done = 0;
    while done < bytes {
        let from = match open {
            Some(open) => open,
            None => open.insert(PreadReader::open_sequential(path)?),
        };
        let count = (bytes - done).min(CHUNK_BYTES);
        chunk.resize(usize::try_from(count)?, 0);
        from.read_at(offset.saturating_add(done), &mut chunk)?;
        put(&chunk)?;
        done += count;
    }
    Ok(())
}
