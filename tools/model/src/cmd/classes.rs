mod groups;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use engram_bench::{plot, report};
use engram_model::inside::{Score, scores};
use serde::Serialize;

use self::groups::{Grouping, Seen};
use crate::{
    open::{ModelArgs, encode},
    subject::{AgainstArgs, Rows, Subject},
    text::{Extent, Text, TextArgs},
};

/// Show how well classes of tokens are foreseen with Engram and with its gates shut
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    against: AgainstArgs,
    #[command(flatten)]
    text: TextArgs,
    /// A text that the model was trained on: tokens are also classed by how often it has their 3-grams
    #[arg(long, value_name = "FILE")]
    trained_on: Option<PathBuf>,
    /// Write the figures here as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the perplexities to this SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    text: Extent,
    /// Tokens with something before them in their window.
    scored: usize,
    runs: Vec<String>,
    groupings: Vec<GroupingReport>,
}

#[derive(Debug, Serialize)]
struct GroupingReport {
    by: &'static str,
    /// Those that have tokens.
    classes: Vec<ClassReport>,
}

#[derive(Debug, Serialize)]
struct ClassReport {
    name: &'static str,
    tokens: usize,
    /// In the order of the report's runs.
    runs: Vec<Figures>,
    /// What is left of the accuracy when gates are shut; none where there was none.
    kept: Option<f64>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Figures {
    /// A token.
    bits: f64,
    perplexity: f64,
    /// The share of tokens that were the likeliest.
    accuracy: f64,
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        let tokenizer = self.model.tokenizer()?;
        let text = self.text.encode(&tokenizer)?;
        let trained_on = self.trained_on.as_ref().map(|path| {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            Ok::<_, anyhow::Error>(Seen::count(&encode(&tokenizer, &text)?))
        });
        let trained_on = trained_on.transpose()?;
        let against = self.against.open(&self.model, &self.text, &text)?;
        let subject = Subject::open(&self.model)?;
        let mut runs = vec![
            (
                "with Engram".to_owned(),
                score(&subject, Rows::Added, &text)?,
            ),
            ("gates shut".into(), score(&subject, Rows::ShutOut, &text)?),
        ];
        if let Some(against) = &against {
            runs.push((against.name().into(), score(against, Rows::Added, &text)?));
        }
        let groupings = Grouping::all(&tokenizer, &text, trained_on.as_ref())?;
        let groupings = groupings
            .iter()
            .map(|grouping| grouping_report(grouping, &runs));
        let report = Report {
            text: text.extent(),
            scored: runs[0].1.len(),
            groupings: groupings.collect(),
            runs: runs.into_iter().map(|(name, _)| name).collect(),
        };
        report.print()?;
        report::json(self.json.as_deref(), &report)?;
        self.draw(&report)
    }

    fn draw(&self, report: &Report) -> Result<()> {
        // What a second count of 3-grams says is near what the first does.
        let classes = report.groupings.iter().take(3).flat_map(|of| &of.classes);
        let groups = classes.map(|class| {
            let values = class.runs.iter().map(|run| run.perplexity);
            (class.name.to_owned(), values.collect())
        });
        let names: Vec<&str> = report.runs.iter().map(String::as_str).collect();
        plot::bars(
            self.plot.as_deref(),
            "Perplexity of classes of tokens",
            "perplexity",
            &names,
            &groups.collect::<Vec<_>>(),
        )
    }
}

/// The scores of all tokens that have one before them in their window.
fn score(subject: &Subject, rows: Rows, text: &Text) -> Result<Vec<Score>> {
    let mut all = Vec::new();
    for window in text.windows() {
        let logits = subject.pass(window, rows)?.logits;
        let before = logits.narrow(0, 0, window.len() - 1)?;
        all.extend(scores(&before, &window[1..])?);
    }
    Ok(all)
}

fn grouping_report(grouping: &Grouping, runs: &[(String, Vec<Score>)]) -> GroupingReport {
    let classes = grouping
        .names
        .iter()
        .enumerate()
        .filter_map(|(index, &name)| {
            let of_class = |scores: &[Score]| -> Vec<Score> {
                let scores = scores.iter().zip(&grouping.classes);
                let own = scores.filter(|(_, class)| **class == index);
                own.map(|(score, _)| *score).collect()
            };
            let runs: Vec<Vec<Score>> = runs.iter().map(|(_, scores)| of_class(scores)).collect();
            let tokens = runs[0].len();
            if tokens == 0 {
                return None;
            }
            let runs: Vec<Figures> = runs.iter().map(|scores| Figures::of(scores)).collect();
            let (open, shut) = (runs[0].accuracy, runs[1].accuracy);
            Some(ClassReport {
                name,
                tokens,
                runs,
                kept: (open > 0.0).then(|| shut / open),
            })
        });
    GroupingReport {
        by: grouping.by,
        classes: classes.collect(),
    }
}

impl Figures {
    #[expect(clippy::cast_precision_loss, reason = "few tokens")]
    fn of(scores: &[Score]) -> Self {
        let tokens = scores.len() as f64;
        let bits = scores.iter().map(|score| score.bits).sum::<f64>() / tokens;
        let right = scores.iter().filter(|score| score.likeliest).count();
        Self {
            bits,
            perplexity: bits.exp2(),
            accuracy: right as f64 / tokens,
        }
    }
}

impl Report {
    fn print(&self) -> Result<()> {
        self.text.print();
        println!("gates shut: the same weights, rows contribute nothing");
        println!("kept: the accuracy with shut gates over that with Engram");
        for grouping in &self.groupings {
            println!();
            let mut head = vec![grouping.by.to_owned(), "tokens".into()];
            for run in &self.runs {
                head.push(format!("{run}: bits"));
                head.extend(["perplexity", "accuracy"].map(String::from));
            }
            head.push("kept".into());
            let cells = grouping.classes.iter().map(ClassReport::cells);
            let head: Vec<&str> = head.iter().map(String::as_str).collect();
            report::table(&head, &cells.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

impl ClassReport {
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
        cells.push(self.kept.map_or("-".into(), percent));
        cells
    }
}
