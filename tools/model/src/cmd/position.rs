use std::path::PathBuf;

use anyhow::Result;
use engram_bench::{
    plot::{Curve, Labels, Point, curves},
    report,
};
use engram_train::EngramRecipe;
use serde::Serialize;

use crate::study::{Spread, StudyArgs, held_out};

/// Train models whose Engram block is ahead of one layer or another
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    study: StudyArgs,
    /// Idle parameters that are in experts, in percent; the others are in rows
    #[arg(long, value_name = "PERCENT", default_value_t = 80)]
    share: u32,
    /// Write the figures here as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the held-out loss over the layers here as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// One position.
#[derive(Debug, Serialize)]
struct Position {
    layer: u32,
    held_out_losses: Vec<f64>,
    held_out_loss: Spread,
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        let study = self.study.open()?;
        let recipe = study.base.allocated(f64::from(self.share) / 100.0)?;
        let mut positions = Vec::new();
        for layer in 0..u32::try_from(recipe.layers)? {
            let mut recipe = recipe.clone();
            if let Some(EngramRecipe { layers, .. }) = &mut recipe.engram {
                *layers = vec![layer];
            }
            let runs = study.runs(&format!("experts-{}-layer-{layer}", self.share), &recipe)?;
            positions.push(Position {
                layer,
                held_out_losses: runs.iter().map(|run| run.held_out.loss).collect(),
                held_out_loss: held_out(&runs),
            });
        }
        let cells = positions.iter().map(|position| {
            let Spread { mean, deviation } = position.held_out_loss;
            vec![
                position.layer.to_string(),
                format!("{mean:.4} +- {deviation:.4}"),
            ]
        });
        report::table(
            &["Engram ahead of layer", "held-out loss"],
            &cells.collect::<Vec<_>>(),
        )?;
        let points = positions.iter().map(|position| Point {
            x: f64::from(position.layer),
            y: position.held_out_loss.mean,
            deviation: position.held_out_loss.deviation,
        });
        let curve = Curve {
            name: "held-out loss, with the deviation over seeds".into(),
            points: points.collect(),
        };
        let labels = Labels {
            title: "where the Engram block is",
            x: "the layer it is ahead of",
            y: "loss, nats a token",
        };
        curves(self.plot.as_deref(), labels, &[curve])?;
        report::json(self.json.as_deref(), &positions)
    }
}
