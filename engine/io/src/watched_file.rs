//! A file that must not change while others read it.

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
};

use rustix::fs::{Stat, fstat, stat};
use thiserror::Error;

use crate::IoError;

/// A file whose bytes have no checksums, so that only the system can tell that they have changed.
///
/// The system notes the time of each write, to the tick of its clock, some milliseconds. So a write is not seen in the
/// tick of the one before it, if the file was opened between them. A write through a mapping is noted when it first
/// touches a page, or later, and one by another machine when this one hears of it.
#[derive(Debug)]
pub struct WatchedFile {
    path: PathBuf,
    file: File,
    opened: State,
}

/// A file that is not what it was when it was opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{} has changed since it was opened: its {field} is {found}, expected {expected}",
    path.display()
)]
#[non_exhaustive]
pub struct FileChange {
    /// The file.
    pub path: PathBuf,
    /// What tells: the size in bytes, the time of the last write or of the last change in seconds since 1970, or where
    /// another file has its name now, the device or inode.
    pub field: &'static str,
    /// Its value when the file was opened.
    pub expected: Box<str>,
    /// Its value now.
    pub found: Box<str>,
}

impl WatchedFile {
    /// Opens the file at `path`, which may not change from then on.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        let file = File::open(path).map_err(IoError::os("open", path))?;
        let opened = fstat(&file).map_err(|e| IoError::os("look at", path)(e.into()))?;
        Ok(Self {
            path: path.into(),
            file,
            opened: State::of(&opened),
        })
    }

    /// Checks that the file has not changed, whatever has its name now. A system call.
    ///
    /// Where only the time of the last change differs, of owner, rights or name as well as bytes, these are compared
    /// too, since they may be what has changed.
    ///
    /// # Errors
    /// [`IoError::Changed`], or a system that does not tell.
    pub fn check(&self) -> Result<(), IoError> {
        let now = fstat(&self.file).map_err(|e| IoError::os("look at", &self.path)(e.into()))?;
        self.compare(&State::of(&now))
    }

    /// Checks that the file still has its name, and has not changed.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_name(&self) -> Result<(), IoError> {
        let now = stat(&self.path).map_err(|e| IoError::os("look at", &self.path)(e.into()))?;
        self.compare(&State::of(&now))
    }

    fn compare(&self, now: &State) -> Result<(), IoError> {
        let Some((field, expected, found)) = self.opened.difference(now) else {
            return Ok(());
        };
        Err(IoError::Changed(FileChange {
            path: self.path.clone(),
            field,
            expected: expected.into(),
            found: found.into(),
        }))
    }
}

/// What the system says of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    device: u64,
    inode: u64,
    size: i64,
    written: Time,
    changed: Time,
    /// Names, rights, user and group.
    attributes: [u64; 4],
}

/// Seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Time(i64, u64);

impl State {
    fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            written: Time(stat.st_mtime, stat.st_mtime_nsec),
            changed: Time(stat.st_ctime, stat.st_ctime_nsec),
            attributes: [
                #[allow(clippy::useless_conversion, reason = "narrower on some processors")]
                stat.st_nlink.into(),
                stat.st_mode.into(),
                stat.st_uid.into(),
                stat.st_gid.into(),
            ],
        }
    }

    /// The first field that differs in `now`, what it was and what it is.
    fn difference(&self, now: &Self) -> Option<(&'static str, String, String)> {
        fn differs<T: PartialEq + fmt::Display>(
            field: &'static str,
            expected: T,
            found: T,
        ) -> Option<(&'static str, String, String)> {
            (expected != found).then(|| (field, expected.to_string(), found.to_string()))
        }
        let explained = self.attributes != now.attributes;
        differs("device", self.device, now.device)
            .or_else(|| differs("inode", self.inode, now.inode))
            .or_else(|| differs("size", self.size, now.size))
            .or_else(|| differs("time of the last write", self.written, now.written))
            .or_else(|| differs("time of the last change", self.changed, now.changed))
            .filter(|(field, ..)| *field != "time of the last change" || !explained)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, FileTimes, Permissions},
        os::unix::fs::{FileExt, PermissionsExt},
        thread,
        time::Duration,
    };

    use super::*;

    /// A change of a file whose path is given, and the field that tells of it, if any may.
    type Case = (&'static str, fn(&Path), Option<&'static str>);

    fn writable(path: &Path) -> File {
        File::options().write(true).open(path).unwrap()
    }

    #[test]
    fn what_may_have_changed_the_bytes_is_told() {
        let cases: [Case; 9] = [
            ("nothing", |_| (), None),
            ("read", |path| drop(fs::read(path).unwrap()), None),
            (
                "written in place",
                |path| writable(path).write_all_at(b"x", 3).unwrap(),
                Some("time of the last write"),
            ),
            (
                "written, and the time put back",
                |path| {
                    let before = fs::metadata(path).unwrap().modified().unwrap();
                    let file = writable(path);
                    file.write_all_at(b"x", 3).unwrap();
                    let times = FileTimes::new().set_modified(before);
                    file.set_times(times).unwrap();
                },
                Some("time of the last change"),
            ),
            (
                "cut shorter",
                |path| writable(path).set_len(3).unwrap(),
                Some("size"),
            ),
            (
                "longer",
                |path| writable(path).set_len(30_000).unwrap(),
                Some("size"),
            ),
            (
                "other rights",
                |path| fs::set_permissions(path, Permissions::from_mode(0o400)).unwrap(),
                None,
            ),
            ("removed", |path| fs::remove_file(path).unwrap(), None),
            (
                "another takes its name",
                |path| {
                    let other = path.with_extension("other");
                    fs::write(&other, b"others").unwrap();
                    fs::rename(&other, path).unwrap();
                },
                None,
            ),
        ];
        for (case, change, told) in cases {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            fs::write(&path, vec![7; 10_000]).unwrap();
            let watched = WatchedFile::open(&path).unwrap();
            watched.check_name().unwrap();
            // A tick of the clock, and more.
            thread::sleep(Duration::from_millis(20));
            change(&path);
            match (watched.check(), told) {
                (Ok(()), None) => {}
                (Err(IoError::Changed(change)), Some(field)) => {
                    assert_eq!((change.field, &change.path), (field, &path), "{case}");
                    let said = change.to_string();
                    assert!(said.contains(&format!("its {field} is {}", change.found)));
                    assert!(said.ends_with(&*change.expected), "{said}");
                }
                (found, _) => panic!("{case}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_name_that_another_file_has_taken_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["file", "other"].map(|name| folder.path().join(name));
        fs::write(&path, b"bytes").unwrap();
        fs::write(&other, b"bytes").unwrap();
        let watched = WatchedFile::open(&path).unwrap();
        fs::rename(&other, &path).unwrap();
        match watched.check_name() {
            Err(IoError::Changed(change)) => assert_eq!(change.field, "inode"),
            found => panic!("{found:?}"),
        }
        fs::remove_file(&path).unwrap();
        let gone = watched.check_name().unwrap_err().to_string();
        assert!(gone.contains("cannot look at"), "{gone}");
    }
}
