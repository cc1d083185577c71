//! What is said of gates.

use std::collections::BTreeMap;

use anyhow::Result;
use engram_kit::{report, say};
use serde::Serialize;
use tokenizers::Tokenizer;

use crate::{open::decode, text::TextSize, token_classes::ByClass};

/// N-grams in each table.
const LISTED: usize = 10;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) text: TextSize,
    /// Tokens of the n-grams that are listed.
    pub(super) order: usize,
    /// Those with Engram blocks, in order.
    pub(super) layers: Vec<LayerReport>,
    pub(super) groupings: Vec<ByClass<ClassReport>>,
    pub(super) tokens: Vec<TokenReport>,
}

#[derive(Debug, Serialize)]
pub(super) struct TokenReport {
    pub(super) token: u32,
    pub(super) text: String,
    /// `[layer][copy]`, in the order of the layers.
    pub(super) gates: Vec<Vec<f32>>,
}

#[derive(Debug, Serialize)]
pub(super) struct LayerReport {
    pub(super) layer: usize,
    /// Of all tokens and copies.
    mean: f64,
    /// Tenth, fiftieth and ninetieth.
    percentiles: [f64; 3],
    most_open: Vec<Ngram>,
    least_open: Vec<Ngram>,
}

/// Tokens that stand together.
#[derive(Debug, Clone, Serialize)]
struct Ngram {
    text: String,
    times: usize,
    /// At its last token, a mean over copies and times.
    gate: f64,
}

/// Of tokens that are not the first of their window.
#[derive(Debug, Serialize)]
pub(super) struct ClassReport {
    name: &'static str,
    tokens: usize,
    /// Mean gates, in the order of the layers.
    gates: Vec<f64>,
}

impl TokenReport {
    /// The mean gate of the copies, for the layer at index `layer` of those with Engram.
    fn open(&self, layer: usize) -> f64 {
        let gates = self.gates[layer].iter().copied();
        mean(&gates.map(f64::from).collect::<Vec<_>>())
    }
}

impl LayerReport {
    /// Of `layer`, at `index` of those with Engram.
    pub(super) fn of(
        (index, layer): (usize, usize),
        windows: &[&[TokenReport]],
        order: usize,
        tokenizer: &Tokenizer,
    ) -> Result<Self> {
        let tokens = windows.iter().copied().flatten();
        let gates = tokens.flat_map(|token| token.gates[index].iter().copied());
        let mut gates: Vec<f64> = gates.map(f64::from).collect();
        gates.sort_by(f64::total_cmp);
        let percentile = |percent: usize| gates[(gates.len() - 1) * percent / 100];
        let ngrams = ngrams(index, windows, order, tokenizer)?;
        Ok(Self {
            layer,
            mean: mean(&gates),
            percentiles: [10, 50, 90].map(percentile),
            most_open: ngrams.iter().take(LISTED).cloned().collect(),
            least_open: ngrams.iter().rev().take(LISTED).cloned().collect(),
        })
    }

    fn print(&self, order: usize) -> Result<()> {
        for (which, ngrams) in [("most", &self.most_open), ("least", &self.least_open)] {
            let layer = self.layer;
            say!("\n{order}-grams that open the gates of layer {layer} {which}");
            let cells = ngrams.iter().map(|ngram| {
                let text = format!("{:?}", ngram.text);
                vec![text, ngram.times.to_string(), format!("{:.3}", ngram.gate)]
            });
            report::table(&["text", "times", "mean gate"], &cells.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// The n-grams within windows, by the mean of their gates, the most open first.
fn ngrams(
    layer: usize,
    windows: &[&[TokenReport]],
    order: usize,
    tokenizer: &Tokenizer,
) -> Result<Vec<Ngram>> {
    let mut found: BTreeMap<Vec<u32>, Vec<f64>> = BTreeMap::new();
    for tokens in windows.iter().flat_map(|window| window.windows(order)) {
        let ids = tokens.iter().map(|token| token.token);
        let gates = found.entry(ids.collect()).or_default();
        gates.push(tokens[order - 1].open(layer));
    }
    let ngrams = found.into_iter().map(|(ids, gates)| {
        Ok(Ngram {
            text: decode(tokenizer, &ids)?,
            times: gates.len(),
            gate: mean(&gates),
        })
    });
    let mut ngrams = ngrams.collect::<Result<Vec<_>>>()?;
    ngrams.sort_by(|a, b| b.gate.total_cmp(&a.gate));
    Ok(ngrams)
}

impl ClassReport {
    pub(super) fn of(name: &'static str, tokens: &[&&TokenReport]) -> Self {
        let open = |layer| {
            mean(
                &tokens
                    .iter()
                    .map(|token| token.open(layer))
                    .collect::<Vec<_>>(),
            )
        };
        Self {
            name,
            tokens: tokens.len(),
            gates: (0..tokens[0].gates.len()).map(open).collect(),
        }
    }
}

impl Report {
    pub(super) fn print(&self) -> Result<()> {
        self.text.print()?;
        let cells = self.layers.iter().map(|layer| {
            let figures = [layer.mean].into_iter().chain(layer.percentiles);
            let figures = figures.map(|gate| format!("{gate:.3}"));
            [layer.layer.to_string()]
                .into_iter()
                .chain(figures)
                .collect()
        });
        let head = [
            "Engram layer",
            "mean gate",
            "10 % below",
            "half below",
            "90 % below",
        ];
        report::table(&head, &cells.collect::<Vec<_>>())?;
        for grouping in &self.groupings {
            say!();
            let layers = self.layers.iter();
            let layers = layers.map(|layer| format!("layer {}: mean gate", layer.layer));
            let mut head = vec![grouping.by.to_owned(), "tokens".into()];
            head.extend(layers);
            let cells = grouping.classes.iter().map(|class| {
                let mut cells = vec![class.name.to_owned(), class.tokens.to_string()];
                cells.extend(class.gates.iter().map(|gate| format!("{gate:.3}")));
                cells
            });
            let head: Vec<&str> = head.iter().map(String::as_str).collect();
            report::table(&head, &cells.collect::<Vec<_>>())?;
        }
        self.layers
            .iter()
            .try_for_each(|layer| layer.print(self.order))
    }
}

#[expect(clippy::cast_precision_loss, reason = "few values")]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
