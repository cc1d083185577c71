//! Makes the bytes of a checkpoint's file again.

use std::path::Path;

use anyhow::{Context, Result};
use engram_io::{PreadReader, ReadAt};

use super::{
    pack_rows::PackRows,
    record::{LeanFile, Piece},
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
    let mut chunk = Vec::new();
    let mut kept = None;
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
            Piece::Zeros { bytes } => {
                chunk.clear();
                chunk.resize(usize::try_from(bytes.min(CHUNK_BYTES))?, 0);
                in_chunks(bytes, |_, count| put(&chunk[..count]))?;
            }
            Piece::Kept { offset, bytes } => {
                if bytes == 0 {
                    continue;
                }
                let kept = match &mut kept {
                    Some(kept) => kept,
                    None => kept.insert(PreadReader::open_sequential(&lean.join(&file.name))?),
                };
                in_chunks(bytes, |done, count| {
                    chunk.resize(count, 0);
                    kept.read_at(offset.saturating_add(done), &mut chunk)?;
                    put(&chunk)
                })?;
            }
        }
    }
    Ok(())
}

/// Calls `work` with the place and size of each chunk of `bytes` bytes.
fn in_chunks(bytes: u64, mut work: impl FnMut(u64, usize) -> Result<()>) -> Result<()> {
    let mut done = 0;
    while done < bytes {
        let count = (bytes - done).min(CHUNK_BYTES);
        work(done, usize::try_from(count)?)?;
        done += count;
    }
    Ok(())
}
