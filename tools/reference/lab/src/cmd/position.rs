use std::path::PathBuf;

use anyhow::{Result, bail};
use engram_kit::{envelope::Outcome, report};
use engram_train::{EngramRecipe, Recipe};
use serde::Serialize;

use crate::study::{Spread, StudyArgs, draw_held_out, held_out};

/// Train models whose Engram block is ahead of one layer or another
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    study: StudyArgs,
    /// Idle parameters that are in experts, in percent; the others are in rows
    #[arg(long, value_name = "PERCENT", default_value_t = 80)]
    share: u32,
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
    pub(crate) fn run(self) -> Result<Outcome> {
        let study = self.study.open()?;
        let recipe = study.base.allocated(f64::from(self.share) / 100.0)?;
        let Some(engram) = &recipe.engram else {
            bail!(
                "--share is {}, which leaves no Engram block to be placed",
                self.share
            );
        };
        let mut positions = Vec::new();
        for layer in 0..u32::try_from(recipe.layers)? {
            let recipe = Recipe {
                engram: Some(EngramRecipe {
                    layers: vec![layer],
                    ..engram.clone()
                }),
                ..recipe.clone()
            };
            let runs = study.runs(&recipe)?;
            positions.push(Position {
                layer,
                held_out_losses: runs.iter().map(|run| run.held_out.loss).collect(),
                held_out_loss: held_out(&runs),
            });
        }
        let cells = positions.iter().map(|position| {
            vec![
                position.layer.to_string(),
                position.held_out_loss.to_string(),
            ]
        });
        report::table(
            &["Engram ahead of layer", "held-out loss"],
            &cells.collect::<Vec<_>>(),
        )?;
        let labels = ["where the Engram block is", "the layer it is ahead of"];
        let points = positions.iter().map(|of| (of.layer, of.held_out_loss));
        draw_held_out(self.plot.as_deref(), labels, points)?;
        Outcome::new(&positions)
    }
}
