use std::{collections::HashMap, num::NonZeroUsize, path::PathBuf};

use anyhow::Result;
use engram_bench::{
    plot::{self, HeatMap},
    report,
};
use serde::Serialize;
use tokenizers::Tokenizer;

use crate::{
    groups::{Grouping, Seen},
    open::{ModelArgs, decode},
    subject::{Rows, Subject},
    text::{Extent, Text, TextArgs},
};

/// N-grams in each table.
const LISTED: usize = 10;

/// Show how far the gates of the Engram layers open at each token of a text
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    text: TextArgs,
    /// Tokens of the n-grams that are listed
    #[arg(long, value_name = "TOKENS", default_value = "3")]
    order: NonZeroUsize,
    /// Tokens in the picture, from the beginning of the text
    #[arg(long, value_name = "COUNT", default_value = "64")]
    drawn: NonZeroUsize,
    /// A text that the model was trained on: gates are also shown by how often it has the 3-gram that opens them
    #[arg(long, value_name = "FILE")]
    trained_on: Option<PathBuf>,
    /// Write the gates here as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the gates of the first tokens to this SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    text: Extent,
    /// Those with Engram blocks, in order.
    layers: Vec<LayerReport>,
    groupings: Vec<GroupingReport>,
    tokens: Vec<TokenReport>,
}

#[derive(Debug, Serialize)]
struct GroupingReport {
    by: &'static str,
    /// Those that have tokens.
    classes: Vec<ClassReport>,
}

/// Tokens of one class, those at the start of a window left out.
#[derive(Debug, Serialize)]
struct ClassReport {
    name: &'static str,
    tokens: usize,
    /// Mean gates, in the order of `layers`.
    gates: Vec<f64>,
}

#[derive(Debug, Serialize)]
struct LayerReport {
    layer: usize,
    /// Of all tokens and copies.
    mean: f64,
    /// Tenth, fiftieth and ninetieth percentile.
    percentiles: [f64; 3],
    most_open: Vec<Ngram>,
    least_open: Vec<Ngram>,
}

/// Tokens that stood together.
#[derive(Debug, Clone, Serialize)]
struct Ngram {
    text: String,
    times: usize,
    /// At its last token, a mean over copies and times.
    gate: f64,
}

#[derive(Debug, Serialize)]
struct TokenReport {
    token: u32,
    text: String,
    /// `[layer][copy]`, in the order of `layers`.
    gates: Vec<Vec<f32>>,
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        let tokenizer = self.model.tokenizer()?;
        let text = self.text.encode(&tokenizer)?;
        let subject = Subject::open(&self.model)?;
        let tokens = tokens(&subject, &tokenizer, &text)?;
        let layers = subject.engram_layers().into_iter().enumerate();
        let layers = layers.map(|(index, layer)| {
            let gates = tokens.iter().map(|token| token.gates[index].as_slice());
            self.layer(layer, &gates.collect::<Vec<_>>(), &tokenizer, &text)
        });
        let seen = Seen::read(self.trained_on.as_deref(), &tokenizer)?;
        let mut groupings = Grouping::by_kind(&tokenizer, &text.windows())?;
        groupings.extend(seen.map(|seen| Grouping::by_ngram_ended(&text.windows(), &seen)));
        let groupings = groupings.iter().map(|grouping| GroupingReport {
            by: grouping.by,
            classes: ClassReport::all(grouping, &tokens, &text),
        });
        let report = Report {
            text: text.extent(),
            layers: layers.collect::<Result<_>>()?,
            groupings: groupings.collect(),
            tokens,
        };
        self.print(&report)?;
        report::json(self.json.as_deref(), &report)?;
        self.draw(&report)
    }

    /// Of a layer with these `gates`, `[token][copy]`.
    fn layer(
        &self,
        layer: usize,
        gates: &[&[f32]],
        tokenizer: &Tokenizer,
        text: &Text,
    ) -> Result<LayerReport> {
        let mut all: Vec<f64> = gates.concat().into_iter().map(f64::from).collect();
        all.sort_by(f64::total_cmp);
        let percentile = |percent: usize| all[(all.len() - 1) * percent / 100];
        let mut ngrams = ngrams(gates, self.order.get(), text);
        ngrams.sort_by(|a, b| b.1.1.total_cmp(&a.1.1).then(a.0.cmp(b.0)));
        let listed = |(tokens, (times, gate)): &(&[u32], (usize, f64))| -> Result<Ngram> {
            Ok(Ngram {
                text: decode(tokenizer, tokens)?,
                times: *times,
                gate: *gate,
            })
        };
        let most = ngrams.iter().take(LISTED).map(listed);
        let least = ngrams.iter().rev().take(LISTED).map(listed);
        Ok(LayerReport {
            layer,
            mean: mean(&all),
            percentiles: [10, 50, 90].map(percentile),
            most_open: most.collect::<Result<_>>()?,
            least_open: least.collect::<Result<_>>()?,
        })
    }

    fn print(&self, report: &Report) -> Result<()> {
        report.text.print();
        let cells = report.layers.iter().map(|layer| {
            let mut cells = vec![layer.layer.to_string(), format!("{:.3}", layer.mean)];
            let percentiles = layer.percentiles.map(|gate| format!("{gate:.3}"));
            cells.extend(percentiles);
            cells
        });
        let head = [
            "Engram layer",
            "mean gate",
            "10 % below",
            "half below",
            "90 % below",
        ];
        report::table(&head, &cells.collect::<Vec<_>>())?;
        for grouping in &report.groupings {
            println!();
            let layers = report.layers.iter();
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
        for layer in &report.layers {
            for (which, ngrams) in [("most", &layer.most_open), ("least", &layer.least_open)] {
                let order = self.order;
                println!(
                    "\n{order}-grams that open the gates of layer {} {which}",
                    layer.layer
                );
                let cells = ngrams.iter().map(|ngram| {
                    let text = format!("{:?}", ngram.text);
                    vec![text, ngram.times.to_string(), format!("{:.3}", ngram.gate)]
                });
                report::table(&["text", "times", "mean gate"], &cells.collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }

    fn draw(&self, report: &Report) -> Result<()> {
        let drawn = &report.tokens[..self.drawn.get().min(report.tokens.len())];
        let columns: Vec<String> = drawn.iter().map(|token| token.text.clone()).collect();
        let copies = drawn[0].gates.first().map_or(0, Vec::len);
        let (mut rows, mut values) = (Vec::new(), Vec::new());
        for (index, layer) in report.layers.iter().enumerate() {
            for copy in 0..copies {
                let copy_name = if copies > 1 {
                    format!(", copy {}", copy + 1)
                } else {
                    String::new()
                };
                rows.push(format!("layer {}{copy_name}", layer.layer));
                let gates = drawn.iter().map(|token| token.gates[index][copy].into());
                values.push(gates.collect());
            }
        }
        let map = HeatMap {
            title: "Gates of the Engram layers",
            x: "tokens of the text",
            y: "",
            columns: &columns,
            rows: &rows,
            values: &values,
            range: [0.0, 1.0],
            marked: &[],
        };
        plot::heat_map(self.plot.as_deref(), &map)
    }
}

impl ClassReport {
    fn all(grouping: &Grouping, tokens: &[TokenReport], text: &Text) -> Vec<Self> {
        let windows = tokens.chunks(text.window());
        let scored: Vec<&TokenReport> = windows.flat_map(|window| &window[1..]).collect();
        let classes = grouping.split(&scored).into_iter();
        let classes = classes.map(|(name, own)| Self {
            name,
            tokens: own.len(),
            gates: (0..own[0].gates.len())
                .map(|layer| {
                    let gates = own.iter().flat_map(|token| &token.gates[layer]);
                    mean(&gates.map(|&gate| gate.into()).collect::<Vec<_>>())
                })
                .collect(),
        });
        classes.collect()
    }
}

/// The gates at each token.
fn tokens(subject: &Subject, tokenizer: &Tokenizer, text: &Text) -> Result<Vec<TokenReport>> {
    let mut tokens = Vec::with_capacity(text.ids().len());
    for window in text.windows() {
        let pass = subject.pass(window, Rows::Added)?;
        let gates = pass.gates.iter().map(|of| of.squeeze(0)?.to_vec2::<f32>());
        let gates: Vec<Vec<Vec<f32>>> = gates.collect::<candle_core::Result<_>>()?;
        for (position, &token) in window.iter().enumerate() {
            tokens.push(TokenReport {
                token,
                text: decode(tokenizer, &[token])?,
                gates: gates.iter().map(|layer| layer[position].clone()).collect(),
            });
        }
    }
    Ok(tokens)
}

/// The n-grams of so many tokens within windows, with how often they come and the mean of their gates.
fn ngrams<'a>(gates: &[&[f32]], order: usize, text: &'a Text) -> Vec<(&'a [u32], (usize, f64))> {
    let mut found: HashMap<&[u32], (usize, f64)> = HashMap::new();
    for (start, window) in (0..).step_by(text.window()).zip(text.windows()) {
        for (position, ngram) in window.windows(order).enumerate() {
            let gates = gates[start + position + order - 1];
            let (times, sum) = found.entry(ngram).or_default();
            *times += 1;
            *sum += mean(&gates.iter().map(|&gate| gate.into()).collect::<Vec<_>>());
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "few tokens")]
    let averaged = found
        .into_iter()
        .map(|(ngram, (times, sum))| (ngram, (times, sum / times as f64)));
    averaged.collect()
}

#[expect(clippy::cast_precision_loss, reason = "few values")]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
