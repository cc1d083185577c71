mod report;

use std::{num::NonZeroUsize, path::PathBuf};

use anyhow::Result;
use engram_kit::{
    envelope::Outcome,
    plot::{self, HeatMap},
};
use tokenizers::Tokenizer;

use self::report::{ClassReport, LayerReport, Report, TokenReport};
use crate::{
    model_under_study::{ModelUnderStudy, Rows},
    open::{ModelArgs, decode},
    text::{Text, TextArgs},
    token_classes::{NgramCounts, TokenClasses},
};

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
    /// Draw the gates of the first tokens to this SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let tokenizer = self.model.tokenizer()?;
        let text = self.text.encode(&tokenizer)?;
        let seen = NgramCounts::read(self.trained_on.as_deref(), &tokenizer)?;
        let studied = ModelUnderStudy::open(&self.model)?;
        let tokens = tokens(&studied, &tokenizer, &text)?;
        let windows: Vec<&[TokenReport]> = tokens.chunks(text.window()).collect();
        let layers = studied.engram_layers().into_iter().enumerate();
        let layers = layers.map(|at| LayerReport::of(at, &windows, self.order.get(), &tokenizer));
        let mut groupings = TokenClasses::by_kind(&tokenizer, &text.windows())?;
        groupings.extend(seen.map(|seen| TokenClasses::by_ngram_ended(&text.windows(), &seen)));
        let classed: Vec<&TokenReport> = windows.iter().flat_map(|window| &window[1..]).collect();
        let groupings = groupings.iter();
        let report = Report {
            text: text.size(),
            order: self.order.get(),
            layers: layers.collect::<Result<_>>()?,
            groupings: groupings
                .map(|grouping| grouping.summaries(&classed, ClassReport::of))
                .collect(),
            tokens,
        };
        report.print()?;
        self.draw(&report)?;
        Ok(Outcome::new(&report)?.of_pack(&self.model.pack))
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

/// The gates at each token.
fn tokens(
    studied: &ModelUnderStudy,
    tokenizer: &Tokenizer,
    text: &Text,
) -> Result<Vec<TokenReport>> {
    let mut tokens = Vec::with_capacity(text.ids().len());
    for window in text.windows() {
        let pass = studied.pass(window, Rows::Added)?;
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
