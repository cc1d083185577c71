//! Many trainings that are compared: each is made once and kept in a file.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Result, bail};
use candle_core::Device;
use engram_checkpoint::read_json;
use engram_io::publish_bytes;
use engram_kit::{
    plot::{Curve, Labels, Point, curves},
    say,
};
use engram_train::{Corpus, Measured, Parameters, Preset, Recipe, StepReport, Trainer};
use serde::{Deserialize, Serialize};

use crate::{
    open::device,
    training::{self, Verbosity},
};

/// Steps whose losses are one point of a curve, if there are so many.
const SMOOTH: usize = 20;

/// What the trainings of a study have in common.
#[derive(clap::Args)]
pub(crate) struct StudyArgs {
    /// Files, and folders of .txt, .md and .rst files; the sample that comes with this command if not given
    #[arg(long, value_name = "PATH", num_args = 1..)]
    text: Vec<PathBuf>,
    /// Folder for finished trainings, which are not made again
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Steps of each training
    #[arg(long, value_name = "COUNT")]
    steps: Option<usize>,
    /// The largest learning rate
    #[arg(long)]
    rate: Option<f64>,
    /// Trainings of each kind, which differ in their weights and the order of the text
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    seeds: u64,
    /// Compute on this CUDA device instead of the processor, in a build with the feature `cuda`
    #[arg(long, value_name = "NUMBER")]
    cuda: Option<usize>,
}

/// A study: its text, and where its trainings are.
pub(crate) struct Study {
    pub(crate) base: Recipe,
    corpus: Corpus,
    folder: PathBuf,
    seeds: u64,
    device: Device,
}

/// A finished training.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    corpus: String,
    pub(crate) recipe: Recipe,
    pub(crate) parameters: Parameters,
    pub(crate) held_out: Measured,
    pub(crate) seconds: f64,
    pub(crate) steps: Vec<StepReport>,
}

/// A mean over trainings that differ in their seeds alone.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Spread {
    pub(crate) mean: f64,
    /// The sample standard deviation over the trainings; none for a single one.
    pub(crate) deviation: Option<f64>,
}

impl StudyArgs {
    pub(crate) fn open(self) -> Result<Study> {
        let mut base = Preset::Study.recipe();
        base.steps = self.steps.unwrap_or(base.steps);
        base.rate = self.rate.unwrap_or(base.rate);
        if self.seeds == 0 {
            bail!("--seeds is 0, expected 1 or more");
        }
        let texts = training::texts(&self.text)?;
        let corpus = Corpus::new(&texts, base.vocabulary)?;
        training::print_corpus(&texts, &corpus)?;
        Ok(Study {
            base,
            corpus,
            folder: self.output,
            seeds: self.seeds,
            device: device(self.cuda)?,
        })
    }
}

impl Study {
    /// The trainings of `recipe` with each seed, made now where they are not there yet.
    pub(crate) fn runs(&self, recipe: &Recipe) -> Result<Vec<Run>> {
        let runs = (0..self.seeds).map(|seed| {
            let recipe = Recipe {
                seed,
                ..recipe.clone()
            };
            self.run(&name(&recipe), recipe)
        });
        runs.collect()
    }

    fn run(&self, name: &str, recipe: Recipe) -> Result<Run> {
        let path = self.folder.join(format!("{name}.json"));
        let corpus = self.corpus.digest().to_string();
        if path.exists() {
            let run: Run = read_json(&path)?;
            if run.corpus != corpus || run.recipe != recipe {
                bail!(
                    "{} is of another text or other sizes; take another folder",
                    path.display()
                );
            }
            return Ok(run);
        }
        let start = Instant::now();
        let mut trainer = Trainer::new(recipe, &self.corpus, &self.device)?;
        training::run(&mut trainer, None, Verbosity::Quiet)?;
        let run = Run {
            corpus,
            held_out: trainer.measure()?,
            parameters: trainer.parameters(),
            seconds: start.elapsed().as_secs_f64(),
            steps: trainer.steps().to_vec(),
            recipe: trainer.recipe().clone(),
        };
        say!(
            "{name}: {} parameters, {} for a token; held out {:.4} bits a byte, a loss of {:.4}; {:.0} s",
            run.parameters.total(),
            run.parameters.active(),
            run.held_out.bits_per_byte,
            run.held_out.loss,
            run.seconds
        );
        write(&path, &run)?;
        Ok(run)
    }
}

/// The name of a training, which says what it does not share with others of the study.
fn name(recipe: &Recipe) -> String {
    let layers = recipe.engram.iter().flat_map(|engram| &engram.layers);
    let blocks: String = layers.map(|layer| format!("-engram-{layer}")).collect();
    format!("experts-{}{blocks}-seed-{}", recipe.experts, recipe.seed)
}

fn write(path: &Path, run: &Run) -> Result<()> {
    let text = serde_json::to_string(run)? + "\n";
    Ok(publish_bytes(path, text.as_bytes())?)
}

/// The held-out loss of `runs`, of which there is one at least.
pub(crate) fn held_out(runs: &[Run]) -> Spread {
    Spread::of(&runs.iter().map(|run| run.held_out.loss).collect::<Vec<_>>())
}

impl Spread {
    #[expect(clippy::cast_precision_loss, reason = "few trainings")]
    pub(crate) fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self {
            mean,
            deviation: (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4}", self.mean)?;
        match self.deviation {
            Some(deviation) => write!(f, " +- {deviation:.4}"),
            None => Ok(()),
        }
    }
}

/// Draws the held-out loss of each of `points`, by its place, where a file is named.
pub(crate) fn draw_held_out(
    path: Option<&Path>,
    [title, x]: [&str; 2],
    points: impl Iterator<Item = (u32, Spread)>,
) -> Result<()> {
    let points = points.map(|(place, spread)| Point {
        x: place.into(),
        y: spread.mean,
        deviation: spread.deviation.unwrap_or(0.0),
    });
    let curve = Curve {
        name: "held-out loss, with the deviation over seeds".into(),
        points: points.collect(),
    };
    let y = "loss, nats a token";
    curves(path, Labels { title, x, y }, &[curve])
}

/// The loss over the steps, the mean of all `runs`.
#[expect(clippy::cast_precision_loss, reason = "few steps")]
pub(crate) fn loss_curve(name: &str, runs: &[Run]) -> Curve {
    let steps = runs.iter().map(|run| run.steps.len()).min().unwrap_or(0);
    let smooth = SMOOTH.min(steps).max(1);
    let points = (0..steps / smooth).map(|index| {
        let places = index * smooth..(index + 1) * smooth;
        let of_run = |run: &Run| {
            let losses = run.steps[places.clone()].iter().map(|step| step.loss);
            losses.sum::<f64>() / smooth as f64
        };
        let spread = Spread::of(&runs.iter().map(of_run).collect::<Vec<_>>());
        Point {
            x: ((index + 1) * smooth) as f64,
            y: spread.mean,
            deviation: 0.0,
        }
    });
    Curve {
        name: name.into(),
        points: points.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_are_of_the_sample() {
        let spread = Spread::of(&[1.0, 2.0, 3.0]);
        assert_eq!((spread.mean, spread.deviation), (2.0, Some(1.0)));
        assert_eq!(spread.to_string(), "2.0000 +- 1.0000");
        assert_eq!(Spread::of(&[4.0]).to_string(), "4.0000");
    }
}
