//! Copies of resident columns that processes share.

use std::{fs::File, path::Path};

use engram_format::Digest;
use engram_io::{Access, Io, IoError, NewFile, ReadAt, create_folder};

use super::files::check_size;
use crate::error::OpenError;

/// Bytes copied at a time.
const COPY_BYTES: usize = 4 << 20;

/// Maps the copy in `folder` of the shard at `path`, of `bytes` bytes and contents with `digest`, which tells it from
/// the shards of every other pack. The copy is made if no process has done so.
pub(super) fn map_copy(
    io: &dyn Io,
    path: &Path,
    folder: &Path,
    digest: Digest,
    bytes: u64,
) -> Result<Box<dyn ReadAt>, OpenError> {
    let copy = folder.join(format!("engram-{digest}.shard"));
    let lock_path = copy.with_extension("lock");
    create_folder(folder)?;
    let lock = File::create(&lock_path).map_err(IoError::os("lock", &lock_path))?;
    lock.lock().map_err(IoError::os("lock", &lock_path))?;
    if !copy.exists() {
        let source = io.open(path, Access::Sequential)?;
        let mut new = NewFile::create(&copy, bytes)?;
        let mut chunk = vec![0; COPY_BYTES];
        let mut offset = 0;
        while offset < bytes {
            let left = usize::try_from(bytes - offset).unwrap_or(usize::MAX);
            let piece = &mut chunk[..left.min(COPY_BYTES)];
            source.read_at(offset, piece)?;
            new.write(piece)?;
            offset += piece.len() as u64;
        }
        new.publish()?;
    }
    check_size(&copy, bytes)?;
    Ok(io.open(&copy, Access::Mmap)?)
}
