//! Parts of a file that the file system has never stored.

use std::{fs::File, ops::Range, path::Path};

use rustix::fs::{SeekFrom, seek};

use crate::IoError;

/// The holes of the file at `path` within `range`: parts that take no place on the drive and read as zeros. A file
/// system that knows no holes has none, and neither has one that cannot tell.
///
/// # Errors
/// A file that cannot be opened.
pub fn holes(path: &Path, range: Range<u64>) -> Result<Vec<Range<u64>>, IoError> {
    let file = File::open(path).map_err(IoError::os("open", path))?;
    let mut holes = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let Ok(start) = seek(&file, SeekFrom::Hole(at)) else {
            break;
        };
        if start >= range.end {
            break;
        }
        // Beyond the last data there is only the hole that goes to the end of the file.
        let end = seek(&file, SeekFrom::Data(start)).map_or(range.end, |end| end.min(range.end));
        holes.push(start..end);
        at = end;
    }
    Ok(holes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_file_that_is_full_has_no_holes_and_others_name_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [1; 10_000]).unwrap();
        assert_eq!(holes(&path, 0..10_000).unwrap(), []);

        let file = File::create(&path).unwrap();
        file.set_len(1 << 24).unwrap();
        file.write_all_at(&[1; 4_096], 1 << 20).unwrap();
        let found = holes(&path, 100..1 << 24).unwrap();
        if found.is_empty() {
            println!(
                "skipped: the file system of {} knows no holes",
                folder.path().display()
            );
            return;
        }
        assert_eq!(found[0].start, 100);
        assert!(
            found
                .iter()
                .all(|hole| hole.end <= 1 << 20 || hole.start > 1 << 20),
            "{found:?}"
        );
        assert_eq!(found.last().unwrap().end, 1 << 24);
    }
}
