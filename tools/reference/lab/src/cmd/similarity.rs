use anyhow::Result;
use candle_core::Tensor;
use engram_kit::{
    envelope::Outcome,
    plot::{self, HeatMap},
    report, say,
};
use engram_model::inside::linear_cka;
use serde::Serialize;

use crate::{
    compare::{CompareArgs, Compared},
    model_under_study::{ModelUnderStudy, Rows},
    text::{Text, TextSize},
};

/// Show how alike the residual streams of all layers of two models are, or of one model without --against: linear CKA
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    compare: CompareArgs,
}

#[derive(Debug, Serialize)]
struct Report {
    text: TextSize,
    model: String,
    against: String,
    /// Features of a position: the mean over the copies of its residual stream.
    features: [usize; 2],
    /// `[layers of the model that have been computed][layers of the other]`.
    similarity: Vec<Vec<f64>>,
    /// For each layer of the model, the most similar of the other; for a single model, the most similar other layer.
    best: Vec<Best>,
}

#[derive(Debug, Serialize)]
struct Best {
    layers: usize,
    against: usize,
    similarity: f64,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let Compared {
            text,
            studied,
            against,
            names: [model, other_model],
            ..
        } = self.compare.open()?;
        let streams = streams(&studied, &text)?;
        let others = against.as_ref().map(|other| self::streams(other, &text));
        let others = others.transpose()?;
        let similarity = linear_cka(&streams, others.as_ref().unwrap_or(&streams))?;
        let other = against.as_ref().unwrap_or(&studied);
        let report = Report {
            text: text.size(),
            model,
            against: other_model,
            features: [&studied, other].map(|of| of.model().config().hidden_size()),
            best: best(&similarity, against.is_none()),
            similarity,
        };
        report.print()?;
        self.draw(&report)?;
        self.compare.outcome(&report)
    }

    fn draw(&self, report: &Report) -> Result<()> {
        let labels = |count: usize| -> Vec<String> { (0..count).map(|n| n.to_string()).collect() };
        // From the top, so that layers rise.
        let mut rows = labels(report.similarity.len());
        rows.reverse();
        let values: Vec<Vec<f64>> = report.similarity.iter().rev().cloned().collect();
        let columns = labels(values[0].len());
        let marked = report.best.iter();
        let marked = marked.map(|best| (rows.len() - 1 - best.layers, best.against));
        let map = HeatMap {
            title: "Linear CKA of residual streams",
            x: &format!("layers of {} computed", report.against),
            y: &format!("layers of {} computed", report.model),
            columns: &columns,
            rows: &rows,
            values: &values,
            range: [0.0, 1.0],
            marked: &marked.collect::<Vec<_>>(),
        };
        plot::heat_map(self.compare.plot(), &map)
    }
}

/// The streams of all windows at each depth, `[1, tokens, 1, hidden_size]`: means over copies.
fn streams(studied: &ModelUnderStudy, text: &Text) -> Result<Vec<Tensor>> {
    let mut depths: Vec<Vec<Tensor>> = vec![Vec::new(); studied.model().config().layers() + 1];
    for window in text.windows() {
        let pass = studied.pass(window, Rows::Added)?;
        for (depth, stream) in depths.iter_mut().zip(&pass.depths) {
            depth.push(stream.mean_keepdim(2)?);
        }
    }
    let joined = depths.iter().map(|windows| Tensor::cat(windows, 1));
    Ok(joined.collect::<candle_core::Result<_>>()?)
}

/// The greatest value of each row; for a model compared with itself, the diagonal does not count.
fn best(similarity: &[Vec<f64>], itself: bool) -> Vec<Best> {
    let best = similarity.iter().enumerate().filter_map(|(layers, row)| {
        let row = row.iter().copied().enumerate();
        let (against, similarity) = row
            .filter(|(against, _)| !(itself && *against == layers))
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(Best {
            layers,
            against,
            similarity,
        })
    });
    best.collect()
}

impl Report {
    fn print(&self) -> Result<()> {
        self.text.print()?;
        say!(
            "linear CKA, {} positions, {} features in {}, {} in {}: means over copies\n",
            self.text.tokens(),
            self.features[0],
            self.model,
            self.features[1],
            self.against
        );
        let head: Vec<String> = (0..self.similarity[0].len())
            .map(|n| n.to_string())
            .collect();
        let mut names = vec!["layers computed"];
        names.extend(head.iter().map(String::as_str));
        let cells = self.similarity.iter().enumerate().map(|(layers, row)| {
            let mut cells = vec![layers.to_string()];
            cells.extend(row.iter().map(|value| format!("{value:.2}")));
            cells
        });
        report::table(&names, &cells.collect::<Vec<_>>())?;
        say!();
        let cells = self.best.iter().map(|best| {
            vec![
                best.layers.to_string(),
                best.against.to_string(),
                format!("{:.3}", best.similarity),
            ]
        });
        let likest = format!("likest of {}", self.against);
        let head = ["layers computed", &likest, "CKA"];
        report::table(&head, &cells.collect::<Vec<_>>())
    }
}
