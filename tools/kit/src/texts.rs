//! Texts as token ids.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, ensure};
use tokenizers::Tokenizer;

/// The options by which a command is given texts.
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
    /// Calls `each` with the path and the token ids of every file, one file in memory at a time.
    ///
    /// # Errors
    /// A file that cannot be read, a text that is not UTF-8, a trace that is not whole tokens, or what `each` returns.
    pub fn each(&self, mut each: impl FnMut(&Path, &[u32]) -> Result<()>) -> Result<()> {
        for path in &self.trace {
            each(path, &read_trace(path)?)?;
        }
        let Some(path) = &self.tokenizer else {
            return Ok(());
        };
        let tokenizer = read_tokenizer(path)?;
        for path in &self.text {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let tokens = encode(&tokenizer, &text, false);
            each(path, &tokens.with_context(|| path.display().to_string())?)?;
        }
        Ok(())
    }

    /// The size of all files together, in bytes.
    ///
    /// # Errors
    /// A file whose size cannot be read.
    pub fn bytes(&self) -> Result<u64> {
        let sizes = self.trace.iter().chain(&self.text).map(|path| {
            let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
            Ok(metadata.len())
        });
        sizes.sum()
    }
}

/// Reads a `tokenizer.json`.
///
/// # Errors
/// A file that cannot be read, or is no tokenizer.
pub fn read_tokenizer(path: &Path) -> Result<Tokenizer> {
    Tokenizer::from_file(path).map_err(|error| anyhow!("{}: {error}", path.display()))
}

/// The token ids of `text`, with those that the tokenizer puts around a text if `special` ones are wanted.
///
/// # Errors
/// A text that the tokenizer cannot encode.
pub fn encode(tokenizer: &Tokenizer, text: &str, special: bool) -> Result<Vec<u32>> {
    let encoding = tokenizer.encode_fast(text, special);
    let encoding = encoding.map_err(|error| anyhow!("{error}"))?;
    Ok(encoding.get_ids().to_vec())
}

/// Reads a file of little-endian u32 token ids.
///
/// # Errors
/// A file that cannot be read, is empty, or does not end with a whole token.
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

/// The name of a file of tokens in reports: `trace_war.u32le` is `war`.
pub fn trace_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.trim_start_matches("trace_").to_owned()
}
