//! Which entry is meant.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::ArgGroup;
use engram::{Hasher, LayerId, RowId, Sequence};
use engram_kit::texts::{encode, read_tokenizer};
use engram_overlay::{EditError, Key};
use serde_json::{Value, json};

/// The options that say which entry.
#[derive(clap::Args)]
#[command(group(ArgGroup::new("entry").args(["row", "tokens", "prompt", "ngram"]).required(true)))]
#[group(skip)]
pub(super) struct EntryArgs {
    /// The model's layer id
    #[arg(long, value_name = "L")]
    pub(super) layer: LayerId,
    /// A row of the layer's table, whatever n-gram reads it
    #[arg(long, value_name = "R")]
    row: Option<u64>,
    /// The n-gram of these raw token ids, as they follow one another
    #[arg(long, value_name = "ID,ID,...", value_delimiter = ',')]
    tokens: Vec<u32>,
    /// The n-gram of this text's tokens, for which --tokenizer is needed
    #[arg(long, value_name = "TEXT", requires = "tokenizer")]
    prompt: Option<String>,
    /// The n-gram of these ids as they are hashed, newest first, as `list` prints them
    #[arg(long, value_name = "ID,ID,...", value_delimiter = ',')]
    ngram: Vec<u32>,
    /// The model's tokenizer.json
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
}

impl EntryArgs {
    pub(super) fn key(&self, hasher: &Hasher) -> Result<Key> {
        if let Some(row) = self.row {
            return Ok(Key::Row(RowId(row)));
        }
        if !self.ngram.is_empty() {
            return Ok(Key::NGram(self.ngram.clone()));
        }
        let most = hasher.scheme().max_order as usize;
        ensure!(most >= 2, EditError::NoNGrams);
        let mut tokens = self.tokens.clone();
        if let (Some(text), Some(path)) = (&self.prompt, &self.tokenizer) {
            tokens = encode(&read_tokenizer(path)?, text, false)?;
        }
        ensure!(
            (2..=most).contains(&tokens.len()),
            "{} tokens ({tokens:?}); the pack has columns for n-grams of 2 to {most}",
            tokens.len()
        );
        let mut ngram = None;
        let each = |window: &[u32]| ngram = Some(window[..tokens.len()].to_vec());
        hasher.extend_windows(&mut Sequence::new(), &tokens, each)?;
        Ok(Key::NGram(ngram.context("an n-gram has tokens")?))
    }
}

/// For people.
pub(super) fn name(key: &Key) -> String {
    match key {
        Key::Row(row) => format!("row {row}"),
        Key::NGram(ngram) => {
            let ids: Vec<String> = ngram.iter().map(u32::to_string).collect();
            format!("n-gram {}", ids.join(","))
        }
    }
}

/// For reports and files.
pub(super) fn json(key: &Key) -> Value {
    match key {
        Key::Row(row) => json!({ "row": row }),
        Key::NGram(ngram) => json!({ "ngram": ngram }),
    }
}
