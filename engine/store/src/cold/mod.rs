//! Cold packs: rows in Zstandard frames, which are decompressed where a packed pack is read.
//!
//! To everything above, a cold pack is the packed pack that it was made of: the backing reads frames, makes the records
//! of them that a packed shard has, and gives those.

mod backing;
mod frame_cache;

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

pub(crate) use engram_cold::ColdFile;
use engram_cold::{ColdError, FrameBuffer};
use engram_format::{Column, HEADER_BYTES, Manifest, Storage};
use engram_io::{Access, IoError, MemoryReader, ReadAt, lock};

use crate::{
    backing::Backing,
    config::{Config, Reader},
    error::OpenError,
    open::{Backend, PackFiles, Reading, open_each},
    source::Source,
};
pub(crate) use backing::ColdBacking;

/// Part of the bytes for caches that frames take; rows have the rest. A row that is wanted again is most likely alone
/// in its frame, so frames are kept for neighbours that are wanted soon.
const FRAME_PART: usize = 8;

/// Bytes for the cache of frames, and for those of rows, of so many for both.
pub(crate) fn split_cache(manifest: &Manifest, bytes: usize) -> (usize, usize) {
    let frames = match manifest.storage {
        Storage::Cold { .. } => bytes / FRAME_PART,
        Storage::Packed | Storage::Attached { .. } => 0,
    };
    (frames, bytes - frames)
}

/// Opens and checks the files of a cold pack; none of another pack.
///
/// # Errors
/// A file that is missing, damaged or of another pack, or a configuration that cannot be kept.
pub(crate) fn open(
    pack: &Path,
    manifest: &Manifest,
    columns: &[Arc<[Column]>],
    files: &PackFiles,
    config: &Config,
) -> Result<Option<Vec<ColdFile>>, OpenError> {
    let Storage::Cold { .. } = manifest.storage else {
        return Ok(None);
    };
    let way = match config.reader {
        _ if config.backing.is_some() => Some("which a backing of the caller's cannot read"),
        _ if config.resident_folder.is_some() => Some("whose columns cannot be shared in a folder"),
        Reader::Mmap => Some("whose rows are compressed, so that they cannot be mapped"),
        Reader::Pread => {
            Some("whose rows are compressed, so that they cannot be read one at a time")
        }
        Reader::Direct | Reader::DirectThreads | Reader::Memory => None,
    };
    if let Some(way) = way {
        let pack = pack.into();
        return Err(OpenError::ColdUnsuited { pack, way });
    }
    let places: Vec<(usize, &Column)> = (columns.iter().enumerate())
        .flat_map(|(table, columns)| columns.iter().map(move |column| (table, column)))
        .collect();
    let files: Vec<_> = places.into_iter().zip(files.paths.iter()).collect();
    let opened = open_each(&files, |((table, column), path)| {
        let column = manifest.cold_column(*table, **column);
        let column = column.expect("the pack is cold");
        let reader = config.file_access.open(path, Access::Pread)?;
        ColdFile::open(path, reader, column).map_err(refused)
    });
    Ok(Some(opened?))
}

/// Why a file cannot be opened.
fn refused(error: ColdError) -> OpenError {
    match error {
        ColdError::Format { path, cause } => OpenError::Format { path, cause },
        error => OpenError::Io(unread(error)),
    }
}

/// Why a frame cannot be had.
fn unread(error: ColdError) -> IoError {
    match error {
        ColdError::Frame {
            path,
            offset,
            cause,
        } => IoError::Damaged {
            path,
            offset,
            cause: Box::new(cause),
        },
        ColdError::Io(error) => error,
        // Nothing else of an open file is read.
        ColdError::Format { path, cause } => IoError::Damaged {
            path,
            offset: 0,
            cause: Box::new(cause),
        },
        error => unreachable!("{error}"),
    }
}

/// Loads the packed shard that `file` was made of.
///
/// # Errors
/// A frame that is damaged or cannot be read, or no memory.
pub(crate) fn load(file: &ColdFile) -> Result<MemoryReader, IoError> {
    MemoryReader::load(file.path(), &Thawed::new(file))
}

/// The backing of a cold pack, if it is not loaded whole.
///
/// # Errors
/// A system that grants no thread.
pub(crate) fn backing(
    sources: &[Arc<Source>],
    files: Vec<ColdFile>,
    cache_bytes: usize,
    config: &Config,
) -> Result<(Option<Arc<dyn Backing>>, Reading), OpenError> {
    if config.reader == Reader::Memory {
        return Ok((None, Reading::As(Backend::Memory)));
    }
    let longest = sources.iter().map(|source| source.longest_part()).max();
    let longest = longest.unwrap_or(0);
    let backing = ColdBacking::start(files, longest, cache_bytes, config.io_threads)?;
    let backing = Arc::new(backing);
    Ok((Some(backing.clone()), Reading::Frames(backing)))
}

/// The packed shard that a cold one was made of, from front to back.
#[derive(Debug)]
struct Thawed<'a> {
    file: &'a ColdFile,
    last: Mutex<LastFrame>,
}

#[derive(Debug, Default)]
struct LastFrame {
    frame: Option<u64>,
    records: Vec<u8>,
    buffer: FrameBuffer,
}

impl<'a> Thawed<'a> {
    fn new(file: &'a ColdFile) -> Self {
        Self {
            file,
            last: Mutex::default(),
        }
    }
}

impl ReadAt for Thawed<'_> {
    fn size(&self) -> u64 {
        let column = self.file.frames().column();
        column.layout().shard_bytes(column.header.column.row_count)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let mut last = lock(&self.last);
        let last = &mut *last;
        read_shard(self.file, offset, out, |frame, take| {
            if last.frame != Some(frame) {
                last.frame = None;
                let read = self.file.read(frame, &mut last.buffer, &mut last.records);
                read.map_err(unread)?;
                last.frame = Some(frame);
            }
            take(&last.records);
            Ok(())
        })
    }
}

/// Copies bytes of the packed shard that `file` was made of to `out`. `records` gives those of a frame.
fn read_shard(
    file: &ColdFile,
    offset: u64,
    out: &mut [u8],
    mut records: impl FnMut(u64, &mut dyn FnMut(&[u8])) -> Result<(), IoError>,
) -> Result<(), IoError> {
    let column = file.frames().column();
    let frame_bytes = column.frame_bytes();
    let size = column.layout().shard_bytes(column.header.column.row_count);
    let len = out.len();
    if offset.checked_add(len as u64).is_none_or(|end| end > size) {
        return Err(IoError::PastEnd {
            path: file.path().into(),
            offset,
            len,
            size,
        });
    }
    let (mut next, mut rest) = (offset, out);
    while !rest.is_empty() {
        let left = rest.len();
        let mut copy = |from: &[u8]| {
            let count = from.len().min(rest.len());
            let (now, after) = std::mem::take(&mut rest).split_at_mut(count);
            now.copy_from_slice(&from[..count]);
            rest = after;
        };
        match next.checked_sub(HEADER_BYTES as u64) {
            None => {
                let header = column.header.encode();
                copy(&header[usize::try_from(next).expect("below the bytes of a header")..]);
            }
            Some(place) => {
                let within = usize::try_from(place % frame_bytes).expect("a frame is in memory");
                records(place / frame_bytes, &mut |records| copy(&records[within..]))?;
            }
        }
        next += (left - rest.len()) as u64;
    }
    Ok(())
}
