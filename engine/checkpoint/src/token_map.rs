//! Where a checkpoint's token map comes from.

use std::{fs, path::Path};

use engram_format::TokenMap;
use engram_io::IoError;

use crate::{CheckpointError, compress};

/// A token map that is stored instead of a tokenizer: little-endian u32, one for each raw id.
pub const PLAIN_TOKEN_MAP_FILE: &str = "token_map.u32le";
/// Name of the tokenizer in a checkpoint.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// Reads the token map from `explicit`, or else from the tokenizer or the plain map in `folder`.
///
/// A file with the extension `u32le` is a plain map, any other a `tokenizer.json`.
///
/// # Errors
/// No such file, or one that gives no valid map.
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
    let bytes = fs::read(path).map_err(IoError::os("read", path))?;
    let map = if is_plain_token_map(path) {
        TokenMap::from_bytes(&bytes, u32::MAX)
    } else {
        let ids = compress(&bytes).map_err(|source| CheckpointError::Tokenizer {
            path: path.into(),
            source,
        })?;
        TokenMap::new(ids, u32::MAX)
    };
    map.map_err(|source| CheckpointError::TokenMap {
        path: path.into(),
        source,
    })
}

/// Whether `path` names a plain token map, by its extension `u32le`.
pub fn is_plain_token_map(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "u32le")
}
