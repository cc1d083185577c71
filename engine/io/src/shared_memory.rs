//! Memory that threads and processes read and write at the same time.
//!
//! Words in a file are in the hands of whoever may write that file. A process that stores other words does no harm
//! here, since every word is an atomic and every value a valid one. A process that cuts the file shorter takes the
//! memory away: the next access to the lost part ends this process with SIGBUS, which no program can make an error
//! of. Nor can this one prevent it, because Linux has no mandatory locks. So such a file belongs in a folder that only
//! users who trust each other can write, and must be deleted, never truncated.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    ops::Deref,
    path::Path,
    sync::atomic::AtomicU64,
};

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};

use crate::{IoError, prefetch::prefetch_at};

const WORD_BYTES: usize = size_of::<AtomicU64>();
/// Memory taken at a time: a huge page.
const PIECE_BYTES: usize = 2 << 20;

/// Words of memory, zero at first, in huge pages where the system has them; of this process, or of a file that
/// several processes map.
pub struct SharedWords {
    map: MmapRaw,
}

impl SharedWords {
    /// `count` words of this process, or one if that is 0.
    ///
    /// # Errors
    /// No memory.
    pub fn new(count: usize) -> Result<Self, IoError> {
        let bytes = count.max(1) * WORD_BYTES;
        let map = MmapOptions::new().len(bytes).map_anon();
        let map = map.map_err(IoError::no_memory(bytes, "words that threads share"))?;
        Ok(Self::advised(map.into()))
    }

    /// `count` words, or one if that is 0, in the file at `path`, which is made if it is not there; and whether it was.
    /// All processes that open it share them. One that truncates the file ends the others with SIGBUS.
    ///
    /// # Errors
    /// A file of another size, or one that cannot be made or mapped.
    pub fn shared(path: &Path, count: usize) -> Result<(Self, bool), IoError> {
        let bytes = (count.max(1) * WORD_BYTES) as u64;
        let (file, made) = open_or_make(path).map_err(IoError::os("open", path))?;
        let words = Self::of_file(&file, path, bytes);
        if made && words.is_err() {
            // It is of no use to anybody, and may hold what space there was.
            let _ = fs::remove_file(path);
        }
        Ok((words?, made))
    }

    fn of_file(file: &File, path: &Path, bytes: u64) -> Result<Self, IoError> {
        let found = file
            .metadata()
            .map_err(IoError::os("read the size of", path))?
            .len();
        if found == 0 || found == bytes {
            // Without a block for each page, the first access to one on a full drive would end the process with SIGBUS.
            match fallocate(file, FallocateFlags::empty(), 0, bytes) {
                Err(full @ (Errno::NOSPC | Errno::DQUOT)) => Err(full.into()),
                // Some file systems, and some containers, cannot.
                Err(_) => file.set_len(bytes),
                Ok(()) => Ok(()),
            }
            .map_err(IoError::os("reserve space for", path))?;
        } else {
            return Err(IoError::WrongSize {
                path: path.into(),
                found,
                expected: bytes,
            });
        }
        let map = MmapOptions::new().map_raw(file);
        Ok(Self::advised(map.map_err(IoError::os("map", path))?))
    }

    fn advised(map: MmapRaw) -> Self {
        // Only advice: without huge pages it works, slower.
        let _ = map.advise(Advice::HugePage);
        Self { map }
    }

    /// Takes the memory of all words from the system, so that the first access to each need not: a piece at a time, as
    /// long as `go_on` says so of the bytes that are left to take. No effect where the system cannot, such as Linux
    /// before 5.14.
    pub fn populate(&self, go_on: impl Fn(usize) -> bool) {
        for start in (0..self.map.len()).step_by(PIECE_BYTES) {
            let left = self.map.len() - start;
            let len = PIECE_BYTES.min(left);
            let taken = go_on(left)
                && self
                    .map
                    .advise_range(Advice::PopulateWrite, start, len)
                    .is_ok();
            if !taken {
                return;
            }
        }
    }

    /// Hints that the words from `index` on will be read soon.
    #[inline]
    pub fn prefetch(&self, index: usize, words: usize) {
        let start = self.map.as_ptr().wrapping_add(index * WORD_BYTES);
        prefetch_at(start, words * WORD_BYTES);
    }
}

/// Opens the file at `path`, or makes it; and whether it was made. It is opened without `O_CREAT` first: in a folder
/// that everybody may write, Linux refuses that flag for files of others (`fs.protected_regular`).
fn open_or_make(path: &Path) -> io::Result<(File, bool)> {
    let open = || OpenOptions::new().read(true).write(true).open(path);
    match open() {
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        opened => return Ok((opened?, false)),
    }
    let mut options = OpenOptions::new();
    match options.read(true).write(true).create_new(true).open(path) {
        // Another process was faster.
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok((open()?, false)),
        made => Ok((made?, true)),
    }
}

impl Deref for SharedWords {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, lives as long as `self`, and any bytes are words. This crate and every
        // process that opens the file through it touch them by atomic operations only, so what another process stores
        // is a value and not a data race. A process that truncates the file makes an access end this one with SIGBUS:
        // it stops before it has read anything, so no reference here ever yields what is not there.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.map.len() / WORD_BYTES) }
    }
}

impl std::fmt::Debug for SharedWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SharedWords").field(&self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[test]
    fn populating_takes_memory_until_told_to_stop() {
        let words = SharedWords::new(4 * PIECE_BYTES / WORD_BYTES).unwrap();
        words[7].store(9, Relaxed);
        let pieces = std::cell::Cell::new(0);
        words.populate(|left| {
            assert_eq!(left, (4 - pieces.get()) * PIECE_BYTES);
            pieces.set(pieces.get() + 1);
            pieces.get() <= 2
        });
        // A system that cannot ends after the first.
        assert!(matches!(pieces.get(), 1 | 3), "{pieces:?}");
        words.populate(|_| true);
        assert_eq!(words[7].load(Relaxed), 9);
        assert!(words[8..].iter().all(|word| word.load(Relaxed) == 0));
    }

    #[test]
    fn a_file_is_shared_by_all_that_name_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("words");
        let [(one, true), (other, false)] =
            [(); 2].map(|()| SharedWords::shared(&path, 10).unwrap())
        else {
            panic!("the first makes the file");
        };
        one[9].store(7, Relaxed);
        assert_eq!((other.len(), other[9].load(Relaxed)), (10, 7));
        let refused = SharedWords::shared(&path, 11).unwrap_err().to_string();
        assert!(refused.contains("80 bytes, expected 88"), "{refused}");
    }

    #[test]
    fn a_file_that_finds_no_room_is_not_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("words");
        let refused = SharedWords::shared(&path, 1 << 48).unwrap_err();
        assert!(refused.to_string().contains("reserve space"), "{refused}");
        assert!(!path.exists());
    }

    #[test]
    fn private_words_are_zero() {
        let words = SharedWords::new(1_000).unwrap();
        words.prefetch(990, 100);
        assert!(words.iter().all(|word| word.load(Relaxed) == 0));
    }
}
