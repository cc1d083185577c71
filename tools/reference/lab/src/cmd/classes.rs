use std::path::PathBuf;

use anyhow::Result;
use engram_kit::{envelope::Outcome, plot, report, say};
use engram_model::inside::{Score, scores};
use serde::Serialize;

use crate::{
    compare::{CompareArgs, Compared},
    model_under_study::{ModelUnderStudy, Rows},
    text::{Text, TextSize},
    token_classes::{ByClass, NgramCounts, TokenClasses},
};

/// Tokens that a class must have to be drawn: the figures of fewer are noise.
const DRAWN: usize = 30;

/// Show how well classes of tokens are foreseen with Engram and with its gates shut
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    compare: CompareArgs,
    /// A text that the model was trained on: tokens are also classed by how often it has their 3-grams
    #[arg(long, value_name = "FILE")]
    trained_on: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    text: TextSize,
    /// All tokens but the first, each with what is before it in its window.
    scored: usize,
    runs: Vec<String>,
    groupings: Vec<ByClass<ClassReport>>,
}

#[derive(Debug, Serialize)]
struct ClassReport {
    name: &'static str,
    tokens: usize,
    /// In the order of the report's runs.
    runs: Vec<Figures>,
    /// Bits that Engram saves.
    saved: Saved,
    /// The accuracy with gates shut over that with Engram; none if the latter is zero.
    kept: Option<f64>,
}

/// Bits of a token with gates shut, minus those with Engram.
#[derive(Debug, Clone, Copy, Serialize)]
struct Saved {
    bits: f64,
    /// The standard error of the mean, as if tokens were independent; none for a single token.
    error: Option<f64>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Figures {
    /// Of one token.
    bits: f64,
    perplexity: f64,
    /// The share of tokens that were the likeliest.
    accuracy: f64,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let Compared {
            tokenizer,
            text,
            studied,
            against,
            names: [_, other],
        } = self.compare.open()?;
        let seen = NgramCounts::read(self.trained_on.as_deref(), &tokenizer)?;
        let mut runs = vec![
            (
                "with Engram".to_owned(),
                score(&studied, Rows::Added, &text)?,
            ),
            ("gates shut".into(), score(&studied, Rows::ShutOut, &text)?),
        ];
        if let Some(against) = &against {
            runs.push((other, score(against, Rows::Added, &text)?));
        }
        let windows = text.windows_and_next();
        let mut groupings = TokenClasses::by_kind(&tokenizer, &windows)?;
        if let Some(seen) = &seen {
            groupings.push(TokenClasses::by_ngram_before(&windows, seen));
            groupings.push(TokenClasses::by_ngram_ended(&windows, seen));
        }
        let scores = scores_by_token(&runs);
        let groupings = groupings.iter();
        let groupings = groupings.map(|grouping| grouping.summaries(&scores, ClassReport::of));
        let report = Report {
            text: text.size(),
            scored: runs[0].1.len(),
            groupings: groupings.collect(),
            runs: runs.into_iter().map(|(name, _)| name).collect(),
        };
        report.print()?;
        self.draw(&report)?;
        self.compare.outcome(&report)
    }

    fn draw(&self, report: &Report) -> Result<()> {
        // The second classes by 3-grams would look nearly as the first.
        let classes = report.groupings.iter().take(3).flat_map(|of| &of.classes);
        let classes = classes.filter(|class| class.tokens >= DRAWN.min(report.scored));
        let groups = classes.map(|class| {
            let values = class.runs.iter().map(|run| run.perplexity);
            (class.name.to_owned(), values.collect())
        });
        let names: Vec<&str> = report.runs.iter().map(String::as_str).collect();
        plot::bars(
            self.compare.plot(),
            "Perplexity of classes of tokens",
            "perplexity",
            &names,
            &groups.collect::<Vec<_>>(),
        )
    }
}

/// The scores of all tokens but the first.
fn score(studied: &ModelUnderStudy, rows: Rows, text: &Text) -> Result<Vec<Score>> {
    let mut all = Vec::new();
    for window in text.windows_and_next() {
        let before = &window[..window.len() - 1];
        all.extend(scores(&studied.pass(before, rows)?.logits, &window[1..])?);
    }
    Ok(all)
}

/// The scores of each token, by run.
fn scores_by_token(runs: &[(String, Vec<Score>)]) -> Vec<Vec<Score>> {
    let tokens = 0..runs[0].1.len();
    let by_run = |token: usize| runs.iter().map(|(_, scores)| scores[token]).collect();
    tokens.map(by_run).collect()
}

impl Figures {
    #[expect(clippy::cast_precision_loss, reason = "few tokens")]
    fn of(scores: impl ExactSizeIterator<Item = Score>) -> Self {
        let tokens = scores.len() as f64;
        let (mut bits, mut right) = (0.0, 0.0);
        for score in scores {
            bits += score.bits / tokens;
            right += f64::from(u8::from(score.likeliest));
        }
        Self {
            bits,
            perplexity: bits.exp2(),
            accuracy: right / tokens,
        }
    }
}

impl Saved {
    #[expect(clippy::cast_precision_loss, reason = "few tokens")]
    fn of(bits: &[f64]) -> Self {
        let tokens = bits.len() as f64;
        let mean = bits.iter().sum::<f64>() / tokens;
        let squares = bits.iter().map(|bits| (bits - mean).powi(2)).sum::<f64>();
        let variance = squares / (tokens - 1.0);
        Self {
            bits: mean,
            error: (bits.len() > 1).then(|| (variance / tokens).sqrt()),
        }
    }
}

impl Report {
    fn print(&self) -> Result<()> {
        self.text.print()?;
        say!("gates shut: the same weights, rows contribute nothing");
        say!("saved: the bits of a token that Engram takes away, with the standard error");
        say!("kept: the accuracy with gates shut over that with Engram");
        for grouping in &self.groupings {
            say!();
            let mut head = vec![grouping.by.to_owned(), "tokens".into()];
            for run in &self.runs {
                head.push(format!("{run}: bits"));
                head.extend(["perplexity", "accuracy"].map(String::from));
            }
            head.extend(["saved", "kept"].map(String::from));
            let cells = grouping.classes.iter().map(ClassReport::cells);
            let head: Vec<&str> = head.iter().map(String::as_str).collect();
            report::table(&head, &cells.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

impl ClassReport {
    /// Of `scores`, `[token][run]`.
    fn of(name: &'static str, scores: &[&Vec<Score>]) -> Self {
        let runs: Vec<Figures> = (0..scores[0].len())
            .map(|run| Figures::of(scores.iter().map(|of| of[run])))
            .collect();
        let saved = scores.iter().map(|of| of[1].bits - of[0].bits);
        let (open, shut) = (runs[0].accuracy, runs[1].accuracy);
        Self {
            name,
            tokens: scores.len(),
            runs,
            saved: Saved::of(&saved.collect::<Vec<_>>()),
            kept: (open > 0.0).then(|| shut / open),
        }
    }

    fn cells(&self) -> Vec<String> {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let mut cells = vec![self.name.to_owned(), self.tokens.to_string()];
        for run in &self.runs {
            cells.extend([
                report::figure(run.bits),
                report::figure(run.perplexity),
                percent(run.accuracy),
            ]);
        }
        let error = self.saved.error.map(|error| format!(" \u{b1} {error:.3}"));
        cells.push(format!(
            "{:.3}{}",
            self.saved.bits,
            error.unwrap_or_default()
        ));
        cells.push(self.kept.map_or("-".into(), percent));
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_means_and_errors_of_means() {
        let scores = [(1.0, true), (3.0, false)];
        let scores = scores.map(|(bits, likeliest)| Score { bits, likeliest });
        let figures = Figures::of(scores.into_iter());
        let found = (figures.bits, figures.perplexity, figures.accuracy);
        assert_eq!(found, (2.0, 4.0, 0.5));
        let saved = Saved::of(&[1.0, 2.0, 3.0]);
        assert_eq!(saved.bits, 2.0);
        assert!((saved.error.unwrap() - (1.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(Saved::of(&[5.0]).error, None);
    }
}
