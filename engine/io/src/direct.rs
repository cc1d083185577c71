//! A file read past the page cache.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, StatxFlags, statx};

use crate::IoError;

/// Alignment that every drive takes, and that of pages.
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
        let direct = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(path)
            .ok();
        let is_direct = direct.is_some();
        let file = match direct {
            Some(file) => file,
            None => File::open(path).map_err(IoError::os("open", path))?,
        };
        let size = file
            .metadata()
            .map_err(IoError::os("read the size of", path))?
            .len();
        let unit = if is_direct {
            alignment(&file)
        } else {
            PAGE_BYTES
        };
        Ok(Self {
            path: path.into(),
            file,
            size,
            unit,
            direct: is_direct,
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

    /// Offsets and lengths of reads are multiples of this: the sector size, where the system tells.
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

/// The alignment that direct reads need, at most a page.
fn alignment(file: &File) -> u32 {
    let told = statx(
        file,
        c"",
        AtFlags::EMPTY_PATH,
        StatxFlags::from_bits_retain(STATX_DIOALIGN),
    );
    match told.map(|stat| stat.stx_dio_offset_align) {
        Ok(unit) if unit.is_power_of_two() && unit <= PAGE_BYTES => unit.max(SECTOR_BYTES),
        _ => PAGE_BYTES,
    }
}

/// Asks for the alignment of direct reads (Linux 6.1; older kernels leave it 0).
const STATX_DIOALIGN: u32 = 0x2000;
