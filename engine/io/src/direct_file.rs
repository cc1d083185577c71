//! A file read past the page cache, where its file system serves such reads.

use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use memmap2::MmapMut;
use rustix::fs::{AtFlags, StatxFlags, fstatfs, statx};

use crate::IoError;

/// Alignment where `statx` reports none: that of pages, which all drives take.
const PAGE_BYTES: u32 = 4096;
/// The smallest sectors that drives have.
const SECTOR_BYTES: u32 = 512;

/// A file opened for direct reads where its file system serves them.
#[derive(Debug)]
pub struct DirectFile {
    path: PathBuf,
    /// Opened with `O_DIRECT`, unless that is refused.
    file: File,
    size: u64,
    unit: u32,
    direct: bool,
    waits: bool,
    /// The same file without `O_DIRECT`, once a direct read has been refused.
    buffered: OnceLock<File>,
}

impl DirectFile {
    /// Opens the file at `path` with `O_DIRECT`, or without it where that is refused, as some network and memory file
    /// systems do. Others grant it and refuse the reads, so one is tried.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        let direct = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(path);
        // If it was not the flag that was refused, opening without it says what was.
        let aligned = direct
            .ok()
            .and_then(|file| alignment(&file).map(|unit| (file, unit)));
        let (file, unit) = match aligned {
            Some((file, unit)) => (file, Some(unit)),
            None => (File::open(path).map_err(IoError::os("open", path))?, None),
        };
        let size = file
            .metadata()
            .map_err(IoError::os("read the size of", path))?
            .len();
        Ok(Self {
            path: path.into(),
            size,
            unit: unit.unwrap_or(PAGE_BYTES),
            direct: unit.is_some(),
            waits: waits(&file),
            file,
            buffered: OnceLock::new(),
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
        self.direct && self.buffered.get().is_none()
    }

    /// Whether each read holds up a thread of the kernel, so that a ring has few of them in flight and threads of one's
    /// own have more. So it is where a process serves the file system (FUSE), or another machine by Plan 9's protocol.
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// The file as it was opened at first.
    pub(crate) fn first(&self) -> &File {
        &self.file
    }

    /// The same file without `O_DIRECT`, if direct reads have been refused since it was opened.
    pub(crate) fn buffered(&self) -> Option<&File> {
        self.buffered.get()
    }

    /// What to read from now, and whether such a read goes past the page cache.
    pub(crate) fn now(&self) -> (&File, bool) {
        match self.buffered.get() {
            Some(buffered) => (buffered, false),
            None => (&self.file, self.direct),
        }
    }

    /// Whether a read that `failed` is to be made again, now through the page cache, because it went past that and
    /// the system refuses such reads of this file. That is so from then on.
    pub(crate) fn reads_again(&self, failed: &IoError, was_direct: bool) -> bool {
        let refused = failed.os_error().is_some_and(is_refusal);
        if !refused || !was_direct {
            return false;
        }
        if self.buffered.get().is_none() {
            let Some(file) = self.reopen() else {
                return false;
            };
            // Another thread may have been faster.
            let _ = self.buffered.set(file);
        }
        true
    }

    /// Opens the file again without `O_DIRECT`; none if another file has its name now.
    fn reopen(&self) -> Option<File> {
        let file = File::open(&self.path).ok()?;
        let (found, expected) = (file.metadata().ok()?, self.file.metadata().ok()?);
        let same = (found.dev(), found.ino()) == (expected.dev(), expected.ino());
        same.then_some(file)
    }
}

/// The alignment of direct reads of `file`; none if they would be slower or are refused: memory file systems serve them
/// from the page cache, and some files take none.
fn alignment(file: &File) -> Option<u32> {
    if fstatfs(file).is_ok_and(|system| system.f_type == TMPFS) {
        return None;
    }
    let asked = StatxFlags::from_bits_retain(STATX_DIOALIGN);
    let told = match statx(file, c"", AtFlags::EMPTY_PATH, asked) {
        Ok(told) if told.stx_mask & STATX_DIOALIGN != 0 => {
            // Reads begin in memory at such multiples too.
            let unit = told.stx_dio_offset_align.max(told.stx_dio_mem_align);
            let usable = told.stx_dio_offset_align > 0 && unit.is_power_of_two();
            (usable && unit <= PAGE_BYTES).then_some(unit.max(SECTOR_BYTES))?
        }
        _ => PAGE_BYTES,
    };
    let units = [told, PAGE_BYTES];
    units.into_iter().find(|unit| serves_direct(file, *unit))
}

/// Whether a direct read of one unit is served. So it seems where none can be tried, since a pipe would lose what is
/// read, and where one fails for another reason, which says nothing of other reads.
fn serves_direct(file: &File, unit: u32) -> bool {
    let size = file.metadata().ok().filter(Metadata::is_file);
    let memory = MmapMut::map_anon(2 * PAGE_BYTES as usize).ok();
    let Some((size, mut memory)) = size.map(|metadata| metadata.len()).zip(memory) else {
        return true;
    };
    // Neither the offset nor the address has a larger alignment than reads will have.
    let offset = if size > unit.into() { unit.into() } else { 0 };
    let bytes = unit as usize;
    match file.read_at(&mut memory[bytes..2 * bytes], offset) {
        // Where whole units do not come at once, the rest of one cannot be asked for.
        Ok(found) => found as u64 >= (size - offset).min(unit.into()),
        Err(error) => !is_refusal(&error),
    }
}

/// Whether the system's answer is that it does not serve such reads at all, rather than that this one has failed.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS | libc::EPERM | libc::EACCES)
    )
}

/// Whether the file system of `file` is one of those that [`DirectFile::waits`] tells of.
fn waits(file: &File) -> bool {
    fstatfs(file).is_ok_and(|system| [FUSE, PLAN9].contains(&system.f_type))
}

/// Asks `statx` for the alignment of direct reads, which Linux reports since 6.1.
const STATX_DIOALIGN: u32 = 0x2000;
/// The numbers by which `statfs` reports a tmpfs, a file system of a process (FUSE), and one over Plan 9's protocol.
const TMPFS: i64 = 0x0102_1994;
const FUSE: i64 = 0x6573_5546;
const PLAN9: i64 = 0x0102_1997;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alignment_that_is_refused_is_not_taken() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [7; 10_000]).unwrap();
        let opened = DirectFile::open(file.path()).unwrap();
        if opened.is_direct() {
            // No drive reads single bytes.
            assert!(!serves_direct(opened.first(), 1));
            assert!(serves_direct(opened.first(), opened.unit()));
        }
        // Through the page cache, any are served.
        let buffered = File::open(file.path()).unwrap();
        assert!(
            [1, 512, 4_096]
                .iter()
                .all(|unit| serves_direct(&buffered, *unit))
        );
    }

    #[test]
    fn what_has_no_direct_reads_is_opened_without() {
        // A file of the kernel's, which refuses the flag.
        let opened = DirectFile::open(Path::new("/proc/self/status")).unwrap();
        assert!(!opened.is_direct());
        let missing = DirectFile::open(Path::new("no/such/file")).unwrap_err();
        assert!(
            missing.to_string().contains("cannot open no/such/file"),
            "{missing}"
        );
    }
}
