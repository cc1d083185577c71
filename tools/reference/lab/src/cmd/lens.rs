use anyhow::Result;
use engram_kit::{
    envelope::Outcome,
    plot::{self, Axes, Line},
    report,
};
use engram_model::inside::Lens;
use serde::Serialize;

use crate::{
    compare::{CompareArgs, Compared},
    model_under_study::{ModelUnderStudy, Rows},
    text::{Text, TextSize},
};

/// Show how soon a model knows what it will say: the logits that each layer's residual stream would give
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    compare: CompareArgs,
}

#[derive(Debug, Serialize)]
struct Report {
    text: TextSize,
    runs: Vec<Run>,
}

#[derive(Debug, Serialize)]
struct Run {
    name: String,
    /// From the embedding to the last layer.
    depths: Vec<DepthReport>,
}

/// Means over all positions.
#[derive(Debug, Serialize)]
struct DepthReport {
    /// Layers that have been computed.
    layers: usize,
    /// Divergence of the distribution at this depth from the final one.
    divergence_bits: f64,
    /// How often the likeliest token is that of the final distribution.
    agreement: f64,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let Compared {
            text,
            studied,
            against,
            names: [_, other],
            ..
        } = self.compare.open()?;
        let mut runs = vec![
            run("with Engram".into(), &studied, Rows::Added, &text)?,
            run("gates shut".into(), &studied, Rows::ShutOut, &text)?,
        ];
        if let Some(against) = &against {
            runs.push(run(other, against, Rows::Added, &text)?);
        }
        let report = Report {
            text: text.size(),
            runs,
        };
        report.print()?;
        self.draw(&report)?;
        self.compare.outcome(&report)
    }

    #[expect(clippy::cast_precision_loss, reason = "few layers")]
    fn draw(&self, report: &Report) -> Result<()> {
        let lines = report.runs.iter().map(|run| Line {
            name: run.name.clone(),
            points: run
                .depths
                .iter()
                .map(|depth| (depth.layers as f64, depth.divergence_bits))
                .collect(),
        });
        let axes = Axes {
            title: "How far each layer is from what the model says",
            x: "layers computed",
            y: "bits from the final distribution",
            x_log: false,
            y_log: false,
        };
        plot::lines(self.compare.plot(), axes, &lines.collect::<Vec<_>>())
    }
}

fn run(name: String, studied: &ModelUnderStudy, rows: Rows, text: &Text) -> Result<Run> {
    let mut lens = Lens::new();
    for window in text.windows() {
        lens.add(studied.model(), &studied.pass(window, rows)?.depths)?;
    }
    let depths = lens.stats().into_iter().enumerate();
    let depths = depths.map(|(layers, stats)| DepthReport {
        layers,
        divergence_bits: stats.divergence,
        agreement: stats.agreement,
    });
    Ok(Run {
        name,
        depths: depths.collect(),
    })
}

impl Report {
    fn print(&self) -> Result<()> {
        self.text.print()?;
        let mut head = vec!["layers computed".to_owned()];
        for run in &self.runs {
            head.push(format!("{}: bits away", run.name));
            head.push("agrees".into());
        }
        let most = self.runs.iter().map(|run| run.depths.len()).max();
        let cells = (0..most.unwrap_or(0)).map(|layers| {
            let mut cells = vec![layers.to_string()];
            for run in &self.runs {
                cells.extend(match run.depths.get(layers) {
                    None => [String::new(), String::new()],
                    Some(depth) => [
                        format!("{:.3}", depth.divergence_bits),
                        format!("{:.1} %", 100.0 * depth.agreement),
                    ],
                });
            }
            cells
        });
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        report::table(&head, &cells.collect::<Vec<_>>())
    }
}
