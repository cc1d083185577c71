//! The backing: the caller's, or threads that read the pack's files past the page cache.

use std::{path::PathBuf, sync::Arc};

use engram_io::{DirectFile, EngineRequest, IoError};

use super::{
    backend::{Backend, Reading},
    files::{PackFiles, open_each},
};
use crate::{
    backing::{Backing, DiskBacking, DiskOptions, Drives, ReadGeometry},
    config::{Config, Reader},
    error::OpenError,
    source::Source,
};

/// Most bytes of one read: neighbouring rows come together up to this.
const READ_BYTES: usize = 16 << 10;
/// Threads that wait for one read each, where the configuration does not say: enough for a drive of
/// which each read takes 100 microseconds and which does hundreds of thousands a second.
const BLOCKING_THREADS: usize = 32;
/// Bytes that the buffers of a ring may have together.
const RING_BYTES: usize = 256 << 20;

/// Where the rows of `sources` are fetched from that no tier has, if any are.
pub(super) fn open(
    sources: &[Arc<Source>],
    files: &PackFiles,
    config: &Config,
) -> Result<(Option<Arc<dyn Backing>>, Reading), OpenError> {
    let longest = sources.iter().map(|source| source.longest_part()).max();
    let longest = longest.unwrap_or(0);
    if let Some(backing) = &config.backing {
        let backing = backing.open(&files.paths, longest)?;
        check_geometry(backing.geometry(), files.paths.len(), longest)?;
        return Ok((Some(backing), Reading::As(Backend::Custom)));
    }
    let none = |backend| Ok((None, Reading::As(backend)));
    let reader = match config.reader {
        Reader::Mmap => return none(Backend::Mmap),
        Reader::Pread => return none(Backend::Pread),
        Reader::Memory => return none(Backend::Memory),
        reader @ (Reader::Direct | Reader::DirectThreads) => reader,
    };
    let open_file = |path: &PathBuf| config.file_access.open_direct(path);
    let drive_of = files.drives.clone();
    let files: Arc<[DirectFile]> = open_each(&files.paths, open_file)?.into();
    // Room for the longest row wherever it begins in a unit.
    let unit = files.iter().map(DirectFile::unit).max().unwrap_or(1) as usize;
    let max_bytes = (longest.next_multiple_of(unit) + unit).max(READ_BYTES);
    let drives = drive_of.iter().max().map_or(1, |last| last + 1);
    let disks = (0..drives).map(|drive| {
        let on_drive = |file: usize| drive_of.get(file).is_none_or(|&of| of == drive);
        let waits = (0..files.len()).any(|file| on_drive(file) && files[file].waits());
        start(reader, &files, waits, max_bytes, config)
    });
    let disks = disks.collect::<Result<_, _>>()?;
    let drives = Arc::new(Drives::new(disks, drive_of));
    Ok((Some(drives.clone()), Reading::Disk(drives)))
}

/// Checks that reads of rows can be planned by what a backing of the caller's says.
fn check_geometry(geometry: &ReadGeometry, files: usize, longest: usize) -> Result<(), OpenError> {
    let refuse = |field, found: usize, expected: String| {
        Err(OpenError::Geometry {
            field,
            found,
            expected,
        })
    };
    if geometry.units.len() != files {
        return refuse(
            "units",
            geometry.units.len(),
            format!("one for each of {files} files"),
        );
    }
    let most = u32::MAX as usize / 2;
    for &unit in &geometry.units {
        let unit = unit as usize;
        if !(1..=most).contains(&unit) {
            return refuse("a unit", unit, format!("1 to {most}"));
        }
        let least = longest.next_multiple_of(unit) + unit;
        if !(least..=most).contains(&geometry.max_bytes) {
            let expected = format!("{least} to {most}: a row and a unit of {unit}");
            return refuse("max_bytes", geometry.max_bytes, expected);
        }
    }
    Ok(())
}

/// Starts the threads of a drive; `waits` says whether a ring would wait for each read of its files.
fn start(
    reader: Reader,
    files: &Arc<[DirectFile]>,
    waits: bool,
    max_bytes: usize,
    config: &Config,
) -> Result<DiskBacking, IoError> {
    let options = |request, threads| DiskOptions {
        io: config.file_access.clone(),
        request,
        threads,
        blocking_threads: BLOCKING_THREADS,
        max_bytes,
    };
    if reader == Reader::Direct && !waits {
        let most = u16::try_from(RING_BYTES / max_bytes).unwrap_or(u16::MAX);
        let depth = config.io_depth.clamp(1, most.max(1));
        let request = EngineRequest::Uring { depth };
        match DiskBacking::start(options(request, config.io_threads.max(1)), files) {
            Ok(disk) => return Ok(disk),
            // More threads would be refused too.
            Err(error @ IoError::NoThread { .. }) => return Err(error),
            // As containers often do: threads do the same.
            Err(error) => tracing::warn!(%error, "io_uring is refused; reading by threads"),
        }
    }
    let threads = match (reader, config.io_threads) {
        (Reader::DirectThreads, 1..) => config.io_threads,
        _ => BLOCKING_THREADS,
    };
    DiskBacking::start(options(EngineRequest::Threads, threads), files)
}
