//! Where a checkpoint's token map comes from.

use std::path::Path;

use engram_format::{MAX_TOKEN_MAP_ENTRIES, TokenMap};
use engram_io::read_file;

use crate::{
    error::CheckpointError,
    files::{check_stand_in, check_whole, read_text},
    tokenizer::compress,
};

/// A token map that is stored instead of a tokenizer: little-endian u32, one for each raw id.
pub const PLAIN_TOKEN_MAP_FILE: &str = "token_map.u32le";
/// Name of the tokenizer in a checkpoint.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// Size in bytes of the largest tokenizer that is read, four times the largest published ones.
const MAX_TOKENIZER_BYTES: u64 = 128 << 20;
/// Size in bytes of the largest plain token map.
const MAX_PLAIN_BYTES: u64 = 4 * MAX_TOKEN_MAP_ENTRIES;

/// Reads the token map from `explicit`, or else from the tokenizer or the plain map in `folder`.
///
/// A file with the extension `u32le` is a plain map, any other a `tokenizer.json`.
///
/// # Errors
/// No such file, one larger than any published model needs, or one that gives no valid map.
pub fn read_token_map(folder: &Path, explicit: Option<&Path>) -> Result<TokenMap, CheckpointError> {
    let candidates = [TOKENIZER_FILE, PLAIN_TOKEN_MAP_FILE].map(|name| folder.join(name));
    let found = explicit.or_else(|| {
        candidates
            .iter()
            .map(AsRef::as_ref)
            .find(|path: &&Path| path.exists())
    });
    let Some(path) = found else {
        return Err(CheckpointError::NoTokenMap {
            folder: folder.into(),
        });
    };
    let map = if is_plain_token_map(path) {
        let map = read_file(path, MAX_PLAIN_BYTES)?;
        check_stand_in(path, &map, true)?;
        TokenMap::from_bytes(&map, u32::MAX)
    } else {
        let tokenizer = read_text(path, MAX_TOKENIZER_BYTES)?;
        let ids = compress(&tokenizer);
        if ids.is_err() {
            check_whole(path, &tokenizer)?;
        }
        let ids = ids.map_err(|cause| CheckpointError::Tokenizer {
            path: path.into(),
            cause,
        })?;
        TokenMap::new(ids, u32::MAX)
    };
    map.map_err(|cause| CheckpointError::TokenMap {
        path: path.into(),
        cause,
    })
}

/// Whether `path` names a plain token map, by its extension `u32le`.
pub fn is_plain_token_map(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "u32le")
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use engram_io::IoError;

    use super::*;

    #[test]
    fn tokenizers_and_maps_beyond_their_limits_are_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let cases = [
            (PLAIN_TOKEN_MAP_FILE, MAX_PLAIN_BYTES),
            (TOKENIZER_FILE, MAX_TOKENIZER_BYTES),
        ];
        for (name, limit) in cases {
            let path = folder.path().join(name);
            File::create(&path).unwrap().set_len(1 << 42).unwrap();
            let refused = read_token_map(folder.path(), Some(&path)).unwrap_err();
            assert!(
                matches!(refused, CheckpointError::Io(IoError::TooLarge { most, .. }) if most == limit),
                "{refused}"
            );
        }
    }
}
