//! JSON files.

use std::{fs, path::Path};

use serde::de::DeserializeOwned;

use crate::Error;

/// Reads the JSON file at `path`.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = fs::read(path).map_err(|source| Error::Io {
        path: path.into(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|source| Error::Json {
        path: path.into(),
        source,
    })
}
