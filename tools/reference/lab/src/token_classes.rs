//! Ways to sort the tokens of a text into classes.

use std::{collections::HashMap, fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;
use tokenizers::Tokenizer;

use crate::{
    open::{decode, encode},
    token_kind::TokenKind,
};

/// How often each 3-gram occurs in a text.
#[derive(Debug)]
pub(crate) struct NgramCounts(HashMap<[u32; 3], u32>);

impl NgramCounts {
    /// Counts the text at `path`, if one is named.
    pub(crate) fn read(path: Option<&Path>, tokenizer: &Tokenizer) -> Result<Option<Self>> {
        let Some(path) = path else {
            return Ok(None);
        };
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut counts = HashMap::new();
        for &ngram in encode(tokenizer, &text)?.array_windows() {
            *counts.entry(ngram).or_default() += 1;
        }
        Ok(Some(Self(counts)))
    }

    /// The classes of a 3-gram, by how often the text has it.
    const NAMES: [&str; 4] = ["3-gram new", "3-gram 1-9", "3-gram 10+", "window start"];

    /// The index in [`Self::NAMES`] of the class of a 3-gram; `None` is one that would begin before its window.
    fn class(&self, ngram: Option<&[u32]>) -> usize {
        let Some(ngram) = ngram.and_then(<[u32]>::as_array) else {
            return 3;
        };
        match self.0.get(ngram) {
            None => 0,
            Some(1..=9) => 1,
            Some(_) => 2,
        }
    }
}

/// A class for each token but the first of each window.
#[derive(Debug)]
pub(crate) struct TokenClasses {
    by: &'static str,
    names: Vec<&'static str>,
    /// For each token, an index into `names`.
    classes: Vec<usize>,
}

/// A value for each class.
#[derive(Debug, Serialize)]
pub(crate) struct ByClass<C> {
    pub(crate) by: &'static str,
    pub(crate) classes: Vec<C>,
}

impl TokenClasses {
    /// All tokens in one class, and a class for each kind of token.
    pub(crate) fn by_kind(tokenizer: &Tokenizer, windows: &[&[u32]]) -> Result<Vec<Self>> {
        let mut classes = Vec::new();
        for window in windows {
            let mut before = decode(tokenizer, &window[..1])?;
            for token in &window[1..] {
                let text = decode(tokenizer, &[*token])?;
                let kind = TokenKind::of(&text, &before);
                let class = TokenKind::ALL.iter().position(|&of| of == kind);
                classes.push(class.expect("all kinds are in the list"));
                before = text;
            }
        }
        let all = Self {
            by: "all tokens",
            names: vec!["all"],
            classes: vec![0; classes.len()],
        };
        let kinds = Self {
            by: "kind of token",
            names: TokenKind::ALL.map(TokenKind::name).to_vec(),
            classes,
        };
        Ok(vec![all, kinds])
    }

    /// Classes by how often the training text has the three tokens before each token.
    pub(crate) fn by_ngram_before(windows: &[&[u32]], seen: &NgramCounts) -> Self {
        Self::by_ngram("3-gram before it in training", windows, seen, [3, 0])
    }

    /// Classes by how often the training text has the 3-gram that ends with each token.
    pub(crate) fn by_ngram_ended(windows: &[&[u32]], seen: &NgramCounts) -> Self {
        Self::by_ngram("3-gram that it ends in training", windows, seen, [2, 1])
    }

    /// Classes by the 3-gram of `before` tokens before each token and `from` tokens from it on.
    fn by_ngram(
        by: &'static str,
        windows: &[&[u32]],
        seen: &NgramCounts,
        [before, from]: [usize; 2],
    ) -> Self {
        let classes = windows.iter().flat_map(|window| {
            (1..window.len()).map(move |position| {
                let start = position.checked_sub(before);
                seen.class(start.map(|start| &window[start..position + from]))
            })
        });
        Self {
            by,
            names: NgramCounts::NAMES.to_vec(),
            classes: classes.collect(),
        }
    }

    /// Calls `summarize` with the name of each class that has tokens and those of `values` that belong to it. There is
    /// one of `values` for each token.
    pub(crate) fn summaries<'a, T, C>(
        &self,
        values: &'a [T],
        summarize: impl Fn(&'static str, &[&'a T]) -> C,
    ) -> ByClass<C> {
        let classes = self.names.iter().enumerate().filter_map(|(index, &name)| {
            let own = values.iter().zip(&self.classes);
            let own = own.filter(|(_, class)| **class == index);
            let own: Vec<&T> = own.map(|(value, _)| value).collect();
            (!own.is_empty()).then(|| summarize(name, &own))
        });
        ByClass {
            by: self.by,
            classes: classes.collect(),
        }
    }
}
