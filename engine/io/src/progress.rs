//! A read that may take several system calls: those that were interrupted or came short are made again.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use crate::{IoError, answers::Answers};

/// Answers in a row without new bytes after which a read fails.
const RETRIES: u8 = 16;

/// How far a read has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    offset: u64,
    needed: usize,
    unit: usize,
    done: usize,
    tries: u8,
}

/// What to do after the system's answer.
#[derive(Debug)]
pub(crate) enum Step {
    /// All bytes needed are there.
    Ended,
    /// Ask for the rest.
    Again,
    /// The read has failed.
    Failed(IoError),
}

impl Progress {
    /// A read at `offset` of which `needed` bytes must come, by requests that begin a multiple of `unit` bytes after
    /// `offset`.
    pub(crate) fn new(offset: u64, needed: usize, unit: usize) -> Self {
        Self {
            offset,
            needed,
            unit,
            done: 0,
            tries: 0,
        }
    }

    /// Bytes that have come. Those that follow are asked for next.
    pub(crate) fn done(&self) -> usize {
        self.done
    }

    /// Offset in the file of the bytes that are asked for next.
    pub(crate) fn next_offset(&self) -> u64 {
        self.offset + self.done as u64
    }

    /// Takes the system's answer to a request for the rest: how many bytes have come.
    pub(crate) fn advance(&mut self, answer: io::Result<usize>, path: &Path) -> Step {
        let failure = match answer {
            Ok(bytes) => {
                let found = self.done + bytes;
                if found >= self.needed {
                    self.done = found;
                    return Step::Ended;
                }
                let whole_units = found - found % self.unit;
                if whole_units > self.done {
                    (self.done, self.tries) = (whole_units, 0);
                    return Step::Again;
                }
                let ended = IoError::Ended {
                    path: path.into(),
                    offset: self.offset,
                    needed: self.needed,
                    found,
                };
                if bytes == 0 {
                    return Step::Failed(ended);
                }
                ended
            }
            Err(e) if is_transient(&e) => IoError::os("read", path)(e),
            Err(e) => return Step::Failed(IoError::os("read", path)(e)),
        };
        self.tries += 1;
        if self.tries < RETRIES {
            Step::Again
        } else {
            Step::Failed(failure)
        }
    }
}

/// Whether the same call may succeed if it is made again.
pub(crate) fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

/// Reads with `pread` until `progress` has all it needs, and returns the bytes that came. `direct` says whether `file`
/// is read past the page cache.
pub(crate) fn read(
    file: &File,
    path: &Path,
    mut progress: Progress,
    out: &mut [u8],
    answers: &Answers,
    direct: bool,
) -> Result<usize, IoError> {
    loop {
        let (offset, rest) = (progress.next_offset(), &mut out[progress.done()..]);
        let offsets = offset..offset + rest.len() as u64;
        let answer = answers.to_read(file.read_at(rest, offset), path, offsets, direct);
        match progress.advance(answer, path) {
            Step::Again => {}
            Step::Ended => return Ok(progress.done()),
            Step::Failed(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(progress: &mut Progress, answer: impl Fn() -> io::Result<usize>) -> String {
        let failed = (0..100).find_map(|_| match progress.advance(answer(), Path::new("file")) {
            Step::Failed(error) => Some(error.to_string()),
            _ => None,
        });
        failed.unwrap()
    }

    #[test]
    fn interruptions_and_short_reads_are_tried_again_but_not_for_ever() {
        let path = Path::new("file");
        let mut progress = Progress::new(0, 5_000, 512);
        let interrupted = || Err(io::ErrorKind::Interrupted.into());
        assert!(matches!(progress.advance(interrupted(), path), Step::Again));
        assert!(matches!(progress.advance(Ok(4_500), path), Step::Again));
        assert_eq!(progress.done(), 4_096);
        let mut ended = progress;
        assert!(matches!(ended.advance(Ok(4_096), path), Step::Ended));
        assert_eq!(ended.done(), 8_192);
        let failed = failure(&mut progress, interrupted);
        assert!(failed.contains("cannot read file"), "{failed}");
        let refused = Err(io::ErrorKind::PermissionDenied.into());
        assert!(matches!(progress.advance(refused, path), Step::Failed(_)));
    }

    #[test]
    fn a_file_that_ends_is_told_from_a_read_that_comes_short() {
        let read = Progress::new(8_192, 5_000, 512);
        for (answer, found) in [(0, "ends 0 bytes"), (300, "ends 300 bytes")] {
            let failed = failure(&mut read.clone(), || Ok(answer));
            assert!(failed.contains(found), "{failed}");
        }
        // Bytes that come one unit at a time come all the same.
        let mut slow = Progress::new(0, 50 * 512, 512);
        let steps = (0..50).map(|_| slow.advance(Ok(512), Path::new("file")));
        assert!(matches!(steps.last(), Some(Step::Ended)));
    }
}
