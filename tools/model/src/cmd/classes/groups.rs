//! Ways to class the tokens of a text.

use std::collections::HashMap;

use anyhow::Result;
use tokenizers::Tokenizer;

use crate::{kind::Kind, open::decode, text::Text};

/// How often each 3-gram stands in a text.
#[derive(Debug)]
pub(super) struct Seen(HashMap<[u32; 3], u32>);

impl Seen {
    pub(super) fn count(tokens: &[u32]) -> Self {
        let mut counts = HashMap::new();
        for &ngram in tokens.array_windows() {
            *counts.entry(ngram).or_default() += 1;
        }
        Self(counts)
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

/// A class for each scored token: those that have one before them in their window.
#[derive(Debug)]
pub(super) struct Grouping {
    pub(super) by: &'static str,
    pub(super) names: Vec<&'static str>,
    /// Indices of `names`.
    pub(super) classes: Vec<usize>,
}

impl Grouping {
    /// All tokens together, by kind, and by what was trained on.
    pub(super) fn all(
        tokenizer: &Tokenizer,
        text: &Text,
        trained_on: Option<&Seen>,
    ) -> Result<Vec<Self>> {
        let by_kind = by_kind(tokenizer, text)?;
        let mut all = vec![
            Self {
                by: "all tokens",
                names: vec!["all"],
                classes: vec![0; by_kind.classes.len()],
            },
            by_kind,
        ];
        if let Some(seen) = trained_on {
            all.push(by_ngram("3-gram before it in training", text, seen, 3, 0));
            all.push(by_ngram(
                "3-gram that it ends in training",
                text,
                seen,
                2,
                1,
            ));
        }
        Ok(all)
    }
}

fn by_kind(tokenizer: &Tokenizer, text: &Text) -> Result<Grouping> {
    let mut classes = Vec::new();
    for window in text.windows() {
        let mut before = decode(tokenizer, &window[..1])?;
        for token in &window[1..] {
            let text = decode(tokenizer, &[*token])?;
            let kind = Kind::of(&text, &before);
            let class = Kind::ALL.iter().position(|&of| of == kind);
            classes.push(class.expect("all kinds are in the list"));
            before = text;
        }
    }
    Ok(Grouping {
        by: "kind of token",
        names: Kind::ALL.map(Kind::name).to_vec(),
        classes,
    })
}

/// By the n-gram from `before` tokens before each to so many of itself and those after.
fn by_ngram(by: &'static str, text: &Text, seen: &Seen, before: usize, own: usize) -> Grouping {
    let classes = text.windows().flat_map(|window| {
        (1..window.len()).map(move |position| {
            let start = position.checked_sub(before);
            seen.class(start.map(|start| &window[start..position + own]))
        })
    });
    Grouping {
        by,
        names: Seen::NAMES.to_vec(),
        classes: classes.collect(),
    }
}
