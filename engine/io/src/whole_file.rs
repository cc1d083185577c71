//! Reading whole files, none of them beyond a limit.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};

use crate::IoError;

/// The bytes of the file at `path`, which is refused if it has more than `most`.
///
/// # Errors
/// Something else than a file, such as a pipe, on which opening might wait for ever; a file that is too large or cannot
/// be read.
pub fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, IoError> {
    check_is_file(path)?;
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(IoError::os("open", path))?;
    let size = file
        .metadata()
        .map_err(IoError::os("read the size of", path))?
        .len();
    let too_large = |found| IoError::TooLarge {
        path: path.into(),
        found,
        most,
    };
    if size > most {
        return Err(too_large(size));
    }
    // One byte more, to see that there is more: a file may grow while it is read.
    file.take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(IoError::os("read", path))?;
    match bytes.len() as u64 {
        found if found > most => Err(too_large(found)),
        _ => Ok(bytes),
    }
}

/// Checks that `path` names a file, or a link to one, before it is opened.
///
/// # Errors
/// No such path, or a folder, a pipe, a socket or a device.
pub fn check_is_file(path: &Path) -> Result<(), IoError> {
    let metadata = fs::metadata(path).map_err(IoError::os("open", path))?;
    if metadata.is_file() {
        return Ok(());
    }
    let found = if metadata.is_dir() {
        "a folder"
    } else {
        "a pipe, a socket or a device"
    };
    Err(IoError::NotAFile {
        path: path.into(),
        found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_or_too_large_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        // Without a block on the drive, and more than any memory holds.
        File::create(&path).unwrap().set_len(1 << 42).unwrap();
        let refused = read_file(&path, 10).unwrap_err();
        assert!(matches!(refused, IoError::TooLarge { found, most: 10, .. } if found == 1 << 42));
        fs::write(&path, "[1, 2]").unwrap();
        assert_eq!(read_file(&path, 6).unwrap(), b"[1, 2]");
        assert!(read_file(&path, 5).is_err());

        let refused = read_file(folder.path(), 10).unwrap_err().to_string();
        assert!(
            refused.ends_with("is a folder, expected a file"),
            "{refused}"
        );
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        assert!(matches!(
            read_file(&pipe, 10),
            Err(IoError::NotAFile { .. })
        ));
    }
}
