use std::path::PathBuf;

use anyhow::{Result, ensure};
use engram_kit::{
    envelope::Outcome,
    plot::{Labels, Point, curves},
    report,
};
use engram_train::Parameters;
use serde::Serialize;

use crate::study::{Spread, StudyArgs, draw_held_out, held_out, loss_curve};

/// Train the same number of parameters in experts and in rows, in several proportions
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    study: StudyArgs,
    /// Idle parameters that are in experts, in percent: all of them first, then others
    #[arg(
        long,
        value_name = "PERCENTS",
        value_delimiter = ',',
        default_value = "100,90,80,70,60,40,20"
    )]
    shares: Vec<u32>,
    /// Draw the held-out loss over the shares here as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Draw the loss over the steps, with and without Engram, here as SVG
    #[arg(long, value_name = "FILE")]
    curves: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    steps: usize,
    tokens_of_a_step: usize,
    shares: Vec<Share>,
    /// `[step, loss]`: with experts alone, and with the best share.
    experts_alone: Vec<[f64; 2]>,
    best: Vec<[f64; 2]>,
}

/// One proportion.
#[derive(Debug, Serialize)]
struct Share {
    /// Of the experts that a token is not given to.
    percent: u32,
    experts: usize,
    rows: u64,
    parameters: Parameters,
    total: u64,
    active: u64,
    held_out_losses: Vec<f64>,
    held_out_loss: Spread,
    bits_per_byte: Spread,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        ensure!(
            self.shares.len() > 1 && self.shares[0] == 100 && !self.shares[1..].contains(&100),
            "--shares is {:?}, expected 100 and then others",
            self.shares
        );
        let study = self.study.open()?;
        let mut shares = Vec::new();
        let mut all = Vec::new();
        for percent in self.shares {
            let recipe = study.base.allocated(f64::from(percent) / 100.0)?;
            let runs = study.runs(&recipe)?;
            let parameters = runs[0].parameters;
            let bits: Vec<f64> = runs.iter().map(|run| run.held_out.bits_per_byte).collect();
            shares.push(Share {
                percent,
                experts: recipe.experts,
                rows: recipe.engram.map_or(0, |engram| engram.rows),
                parameters,
                total: parameters.total(),
                active: parameters.active(),
                held_out_losses: runs.iter().map(|run| run.held_out.loss).collect(),
                held_out_loss: held_out(&runs),
                bits_per_byte: Spread::of(&bits),
            });
            all.push(runs);
        }
        print(&shares)?;
        let better = |a: &usize, b: &usize| {
            let loss = |index: usize| shares[index].held_out_loss.mean;
            loss(*a).total_cmp(&loss(*b))
        };
        let best = (1..shares.len()).min_by(better).expect("shares with rows");
        let lines = [
            loss_curve("experts alone", &all[0]),
            loss_curve(
                &format!("{} % experts, the rest rows", shares[best].percent),
                &all[best],
            ),
        ];
        let labels = [
            "a number of parameters, in experts or in rows",
            "idle parameters in experts, percent",
        ];
        let point = |point: &Point| [point.x, point.y];
        let [experts_alone, best] =
            [&lines[0], &lines[1]].map(|line| line.points.iter().map(point).collect());
        let report = Report {
            steps: study.base.steps,
            tokens_of_a_step: study.base.sequences * study.base.window,
            shares,
            experts_alone,
            best,
        };
        let points = report.shares.iter();
        let points = points.map(|of| (of.percent, of.held_out_loss));
        draw_held_out(self.plot.as_deref(), labels, points)?;
        let labels = Labels {
            title: "the same number of parameters, with and without Engram",
            x: "step",
            y: "loss, nats a token",
        };
        curves(self.curves.as_deref(), labels, &lines)?;
        Outcome::new(&report)
    }
}

fn print(shares: &[Share]) -> Result<()> {
    let cells = shares.iter().map(|share| {
        vec![
            format!("{} %", share.percent),
            share.experts.to_string(),
            share.rows.to_string(),
            share.total.to_string(),
            share.active.to_string(),
            share.held_out_loss.to_string(),
            format!("{:.4}", share.bits_per_byte.mean),
        ]
    });
    let head = [
        "idle in experts",
        "experts",
        "rows",
        "parameters",
        "for a token",
        "held-out loss",
        "bits a byte",
    ];
    report::table(&head, &cells.collect::<Vec<_>>())
}
