//! Ways to class the tokens of a text.

use std::{collections::HashMap, fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;
use tokenizers::Tokenizer;

use crate::{
    kind::Kind,
    open::{decode, encode},
};

/// How often each 3-gram stands in a text.
#[derive(Debug)]
pub(crate) struct Seen(HashMap<[u32; 3], u32>);

impl Seen {
    /// Of the text at `path`, where one is named.
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

    /// By how often it has the 3-gram.
    const NAMES: [&str; 4] = ["3-gram new", "3-gram 1-9", "3-gram 10+", "window start"];

    /// The class of a 3-gram; none reaches over the start of a window.
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

/// A class for each token that has one before it in its window.
#[derive(Debug)]
pub(crate) struct Grouping {
    by: &'static str,
    names: Vec<&'static str>,
    /// Indices of `names`.
    classes: Vec<usize>,
}

/// What is said of each class.
#[derive(Debug, Serialize)]
pub(crate) struct Classed<C> {
    pub(crate) by: &'static str,
    pub(crate) classes: Vec<C>,
}

impl Grouping {
    /// All tokens together, and by kind.
    pub(crate) fn by_kind(tokenizer: &Tokenizer, windows: &[&[u32]]) -> Result<Vec<Self>> {
        let mut classes = Vec::new();
        for window in windows {
            let mut before = decode(tokenizer, &window[..1])?;
            for token in &window[1..] {
                let text = decode(tokenizer, &[*token])?;
                let kind = Kind::of(&text, &before);
                let class = Kind::ALL.iter().position(|&of| of == kind);
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
            names: Kind::ALL.map(Kind::name).to_vec(),
            classes,
        };
        Ok(vec![all, kinds])
    }

    /// By how often the 3-gram that ends before each token was trained on.
    pub(crate) fn by_ngram_before(windows: &[&[u32]], seen: &Seen) -> Self {
        Self::by_ngram("3-gram before it in training", windows, seen, [3, 0])
    }

    /// By how often the 3-gram that each token ends was trained on.
    pub(crate) fn by_ngram_ended(windows: &[&[u32]], seen: &Seen) -> Self {
        Self::by_ngram("3-gram that it ends in training", windows, seen, [2, 1])
    }

    /// By the n-gram of so many tokens before each and so many from it on.
    fn by_ngram(
        by: &'static str,
        windows: &[&[u32]],
        seen: &Seen,
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
            names: Seen::NAMES.to_vec(),
            classes: classes.collect(),
        }
    }

    /// What `of` says of the name and the own ones of `values`, one for each token, of each class that has any.
    pub(crate) fn classed<'a, T, C>(
        &self,
        values: &'a [T],
        of: impl Fn(&'static str, &[&'a T]) -> C,
    ) -> Classed<C> {
        let classes = self.names.iter().enumerate().filter_map(|(index, &name)| {
            let own = values.iter().zip(&self.classes);
            let own = own.filter(|(_, class)| **class == index);
            let own: Vec<&T> = own.map(|(value, _)| value).collect();
            (!own.is_empty()).then(|| of(name, &own))
        });
        Classed {
            by: self.by,
            classes: classes.collect(),
        }
    }
}
