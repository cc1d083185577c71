//! The tokens of one sequence.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use engram::DEAD;
use engram_kit::texts::{encode, read_tokenizer};

/// The options that say which tokens, of which at most one may be given; see [`SOURCES`].
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct TokenArgs {
    /// Raw token ids from the start of a sequence
    #[arg(long, value_name = "ID,ID,...", value_delimiter = ',')]
    tokens: Vec<u32>,
    /// Positions that read no rows of their own, such as image tokens
    #[arg(long, value_name = "POSITION,...", value_delimiter = ',')]
    dead: Vec<usize>,
    /// A text, for which --tokenizer is needed
    #[arg(long, value_name = "TEXT", requires = "tokenizer")]
    prompt: Option<String>,
    /// A file with a text, `-` for standard input
    #[arg(long, value_name = "FILE", requires = "tokenizer")]
    text: Option<PathBuf>,
    /// The model's tokenizer.json
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Add the tokens that the tokenizer puts around a text, such as one for its beginning
    #[arg(long, requires = "tokenizer")]
    special_tokens: bool,
}

/// The options that each say the tokens.
pub(super) const SOURCES: [&str; 3] = ["tokens", "prompt", "text"];

impl TokenArgs {
    /// Whether any tokens are given.
    pub(super) fn is_given(&self) -> bool {
        !self.tokens.is_empty() || self.prompt.is_some() || self.text.is_some()
    }

    /// The tokens, [`DEAD`] at the dead positions.
    pub(super) fn read(&self) -> Result<Vec<u32>> {
        let mut tokens = self.tokens.clone();
        ensure!(
            !tokens.contains(&DEAD),
            "token {DEAD} is outside every vocabulary; name dead positions by --dead"
        );
        if let Some(path) = &self.tokenizer
            && let Some(text) = self.read_text()?
        {
            tokens = encode(&read_tokenizer(path)?, &text, self.special_tokens)?;
        }
        let count = tokens.len();
        for &position in &self.dead {
            let token = tokens.get_mut(position);
            *token.with_context(|| {
                format!("dead position {position} is outside the {count} tokens")
            })? = DEAD;
        }
        Ok(tokens)
    }

    fn read_text(&self) -> Result<Option<String>> {
        let Some(path) = &self.text else {
            return Ok(self.prompt.clone());
        };
        let text = if path == Path::new("-") {
            io::read_to_string(io::stdin())
        } else {
            fs::read_to_string(path)
        };
        Ok(Some(text.with_context(|| path.display().to_string())?))
    }
}
