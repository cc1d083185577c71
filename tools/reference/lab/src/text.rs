//! Texts that models are looked into with.

use std::{fs, num::NonZeroUsize, path::PathBuf};

use anyhow::{Context, Result, ensure};
use engram_kit::say;
use serde::Serialize;
use tokenizers::Tokenizer;

use crate::open::encode;

/// A text, and how much of it a model sees at once.
#[derive(clap::Args)]
pub(crate) struct TextArgs {
    /// File with the text, in UTF-8
    #[arg(long, value_name = "FILE", required_unless_present = "prompt")]
    text: Option<PathBuf>,
    /// The text itself
    #[arg(long, value_name = "TEXT", conflicts_with = "text")]
    prompt: Option<String>,
    /// Tokens of it to look at, from its beginning
    #[arg(long, value_name = "COUNT", default_value = "4096")]
    tokens: NonZeroUsize,
    /// Tokens of a window: each is computed by itself, so its first token has nothing before it
    #[arg(long, value_name = "COUNT", default_value = "128")]
    window: NonZeroUsize,
}

/// Tokens in windows.
#[derive(Debug)]
pub(crate) struct Text {
    ids: Vec<u32>,
    window: usize,
}

/// What was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct TextSize {
    tokens: usize,
    window: usize,
    windows: usize,
}

impl TextArgs {
    /// The text as tokens.
    pub(crate) fn encode(&self, tokenizer: &Tokenizer) -> Result<Text> {
        let window = self.window.get();
        ensure!(window > 1, "--window is 1, expected 2 or more");
        let mut ids = encode(tokenizer, &self.read()?)?;
        ids.truncate(self.tokens.get());
        ensure!(
            ids.len() > 1,
            "the text has {} tokens, expected 2 or more",
            ids.len()
        );
        Ok(Text { ids, window })
    }

    /// The text.
    pub(crate) fn read(&self) -> Result<String> {
        match (&self.text, &self.prompt) {
            (Some(path), _) => fs::read_to_string(path).with_context(|| path.display().to_string()),
            (None, prompt) => Ok(prompt.clone().unwrap_or_default()),
        }
    }
}

impl Text {
    pub(crate) fn ids(&self) -> &[u32] {
        &self.ids
    }

    pub(crate) fn window(&self) -> usize {
        self.window
    }

    pub(crate) fn windows(&self) -> Vec<&[u32]> {
        self.ids.chunks(self.window).collect()
    }

    /// Each window with the token after it, so that every token but the first follows another one in one of them.
    pub(crate) fn windows_and_next(&self) -> Vec<&[u32]> {
        let last = self.ids.len() - 1;
        let starts = (0..last).step_by(self.window);
        starts
            .map(|start| &self.ids[start..=last.min(start + self.window)])
            .collect()
    }

    pub(crate) fn size(&self) -> TextSize {
        TextSize {
            tokens: self.ids.len(),
            window: self.window,
            windows: self.windows().len(),
        }
    }
}

impl TextSize {
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    pub(crate) fn print(&self) -> Result<()> {
        say!(
            "{} tokens in {} windows of {} at most, each computed by itself\n",
            self.tokens,
            self.windows,
            self.window
        );
        Ok(())
    }
}
