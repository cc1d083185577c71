//! The small files of a checkpoint.

use std::path::Path;

use serde::de::{DeserializeOwned, IgnoredAny};

use crate::{
    error::CheckpointError,
    json::standard_json,
    stand_in::{START_BYTES, StandIn},
};

/// Size in bytes of the largest file that [`read_json`] takes.
pub const MAX_JSON_BYTES: u64 = 16 << 20;

/// Reads a JSON file as Python does: `NaN`, `Infinity` and `-Infinity` may be in fields that a `T` does not have.
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
    let text = read_text(path, most)?;
    serde_json::from_slice(&standard_json(&text)).map_err(|cause| json_fault(path, cause))
}

/// The bytes of the JSON file at `path`, unless something else lies in its place.
pub(crate) fn read_text(path: &Path, most: u64) -> Result<Vec<u8>, CheckpointError> {
    let text = engram_io::read_file(path, most)?;
    check_stand_in(path, &text, false)?;
    Ok(text)
}

/// Refuses a file of which `bytes` are the first or all, where they show something else in its place.
pub(crate) fn check_stand_in(
    path: &Path,
    bytes: &[u8],
    binary: bool,
) -> Result<(), CheckpointError> {
    match StandIn::detect(&bytes[..bytes.len().min(START_BYTES)], binary) {
        None => Ok(()),
        Some(found) => Err(CheckpointError::StandIn {
            path: path.into(),
            found,
        }),
    }
}

/// Refuses JSON that ends too early.
pub(crate) fn check_whole(path: &Path, text: &[u8]) -> Result<(), CheckpointError> {
    match serde_json::from_slice::<IgnoredAny>(text) {
        Err(cause) if cause.is_eof() => Err(json_fault(path, cause)),
        _ => Ok(()),
    }
}

fn json_fault(path: &Path, cause: serde_json::Error) -> CheckpointError {
    let path = path.into();
    if cause.is_eof() {
        CheckpointError::CutJson { path, cause }
    } else {
        CheckpointError::Json { path, cause }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use engram_io::IoError;

    use super::*;

    #[test]
    fn a_file_beyond_its_limit_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        // Without a block on the drive, and more than any memory holds.
        File::create(&path).unwrap().set_len(1 << 42).unwrap();
        let refused = read_json::<serde_json::Value>(&path).unwrap_err();
        assert!(
            matches!(refused, CheckpointError::Io(IoError::TooLarge { found, most, .. })
                if found == 1 << 42 && most == MAX_JSON_BYTES),
            "{refused}"
        );
        std::fs::write(&path, "[1, 2]").unwrap();
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), [1, 2]);
    }
}
