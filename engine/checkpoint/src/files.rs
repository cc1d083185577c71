//! Reading whole files, none of them beyond a limit.

use std::path::Path;

use engram_io::{PreadReader, ReadAt};
use serde::de::DeserializeOwned;

use crate::error::CheckpointError;

/// Size in bytes of the largest file that [`read_json`] takes.
pub const MAX_JSON_BYTES: u64 = 16 << 20;

/// Reads a JSON file.
///
/// # Errors
/// A file that cannot be read, has more than [`MAX_JSON_BYTES`], is no JSON, or has other fields than a `T`.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, CheckpointError> {
    read_json_up_to(path, MAX_JSON_BYTES)
}

/// As [`read_json`], of at most `most` bytes.
pub(crate) fn read_json_up_to<T: DeserializeOwned>(
    path: &Path,
    most: u64,
) -> Result<T, CheckpointError> {
    let text = read_file(path, most)?;
    serde_json::from_slice(&text).map_err(|cause| CheckpointError::Json {
        path: path.into(),
        cause,
    })
}

/// The bytes of the file at `path`, which is not read if it has more than `most`.
pub(crate) fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, CheckpointError> {
    let reader = PreadReader::open_sequential(path)?;
    let size = reader.size();
    let too_large = CheckpointError::TooLarge {
        path: path.into(),
        found: size,
        most,
    };
    if size > most {
        return Err(too_large);
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| too_large)?];
    reader.read_at(0, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_file_beyond_its_limit_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        // Without a block on the drive, and more than any memory holds.
        File::create(&path).unwrap().set_len(1 << 42).unwrap();
        let refused = read_json::<serde_json::Value>(&path).unwrap_err();
        assert!(
            matches!(refused, CheckpointError::TooLarge { found, most, .. }
                if found == 1 << 42 && most == MAX_JSON_BYTES),
            "{refused}"
        );
        std::fs::write(&path, "[1, 2]").unwrap();
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), [1, 2]);
        assert!(read_file(&path, 6).is_ok() && read_file(&path, 5).is_err());
    }
}
