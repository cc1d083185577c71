//! A file read past the page cache.

use std::{
    fs::{File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, StatxFlags, fstatfs, statx};

use crate::IoError;

/// Alignment where `statx` reports none: that of pages, which all drives take.
const PAGE_BYTES: u32 = 4096;
/// The smallest sectors that drives have.
const SECTOR_BYTES: u32 = 512;

/// A file opened for direct reads where its file system allows them.
#[derive(Debug)]
pub struct DirectFile {
    path: PathBuf,
    file: File,
    size: u64,
    unit: u32,
    direct: bool,
}

impl DirectFile {
    /// Opens the file at `path` with `O_DIRECT`, or without it where that is refused, as some network
    /// and memory file systems do.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(path);
        let buffered = || File::open(path).map_err(IoError::os("open", path));
        let (file, unit) = match opened {
            Ok(file) => match alignment(&file) {
                Some(unit) => (file, Some(unit)),
                None => (buffered()?, None),
            },
            Err(e) if e.kind() == ErrorKind::InvalidInput => (buffered()?, None),
            Err(e) => return Err(IoError::os("open", path)(e)),
        };
        let size = file
            .metadata()
            .map_err(IoError::os("read the size of", path))?
            .len();
        Ok(Self {
            path: path.into(),
            file,
            size,
            unit: unit.unwrap_or(PAGE_BYTES),
            direct: unit.is_some(),
        })
    }

    /// Where the file was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size in bytes when it was opened.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Offsets and lengths of reads are multiples of this: the sector size, where the system reports it.
    pub fn unit(&self) -> u32 {
        self.unit
    }

    /// Whether reads go past the page cache.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

/// The alignment that direct reads of `file` need; none if they would be slower or fail: memory file
/// systems serve them from the page cache, and some files have none.
fn alignment(file: &File) -> Option<u32> {
    if fstatfs(file).is_ok_and(|system| system.f_type == TMPFS) {
        return None;
    }
    let asked = StatxFlags::from_bits_retain(STATX_DIOALIGN);
    match statx(file, c"", AtFlags::EMPTY_PATH, asked) {
        Ok(told) if told.stx_mask & STATX_DIOALIGN != 0 => {
            let unit = told.stx_dio_offset_align;
            let usable = unit.is_power_of_two() && unit <= PAGE_BYTES;
            usable.then_some(unit.max(SECTOR_BYTES))
        }
        _ => Some(PAGE_BYTES),
    }
}

/// Asks `statx` for the alignment of direct reads, which Linux reports since 6.1.
const STATX_DIOALIGN: u32 = 0x2000;
/// The number by which `statfs` reports a tmpfs.
const TMPFS: i64 = 0x0102_1994;
