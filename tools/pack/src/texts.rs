//! Texts as token ids.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, ensure};
use tokenizers::Tokenizer;

/// The texts that a command is given.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Texts {
    /// Token ids, little-endian u32; may be given more than once
    #[arg(long, value_name = "FILE", required_unless_present = "text")]
    trace: Vec<PathBuf>,
    /// A text, for which --tokenizer is needed; may be given more than once
    #[arg(long, value_name = "FILE", requires = "tokenizer")]
    text: Vec<PathBuf>,
    /// The model's tokenizer.json
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
}

impl Texts {
    /// Calls `each` with the path and the token ids of every file, of which one at a time is in memory.
    ///
    /// # Errors
    /// A file that cannot be read or is no text of its kind, or what `each` returns.
    pub fn each(&self, mut each: impl FnMut(&Path, &[u32]) -> Result<()>) -> Result<()> {
        for path in &self.trace {
            each(path, &read_trace(path)?)?;
        }
        let Some(path) = &self.tokenizer else {
            return Ok(());
        };
        let tokenizer =
            Tokenizer::from_file(path).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        for path in &self.text {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let tokens = tokenizer
                .encode_fast(text, false)
                .map_err(|error| anyhow!("{}: {error}", path.display()))?;
            each(path, tokens.get_ids())?;
        }
        Ok(())
    }

    /// Bytes of all files.
    ///
    /// # Errors
    /// A file that is not there.
    pub fn bytes(&self) -> Result<u64> {
        let sizes = self.trace.iter().chain(&self.text).map(|path| {
            let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
            Ok(metadata.len())
        });
        sizes.sum()
    }
}

/// Reads a file of little-endian u32 token ids.
///
/// # Errors
/// A file that cannot be read, or is no such file.
pub fn read_trace(path: &Path) -> Result<Vec<u32>> {
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
