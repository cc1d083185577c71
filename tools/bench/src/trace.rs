//! Tokens of real texts.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

/// Reads a file of little-endian u32 token ids.
///
/// # Errors
/// A file that cannot be read, or is no such file.
pub fn read(path: &Path) -> Result<Vec<u32>> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let (words, rest) = bytes.as_chunks();
    ensure!(
        rest.is_empty() && !words.is_empty(),
        "{} has {} bytes, expected one or more u32",
        path.display(),
        bytes.len()
    );
    Ok(words.iter().map(|&word| u32::from_le_bytes(word)).collect())
}
