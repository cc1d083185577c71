use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use engram_kit::{envelope::Outcome, say};
use engram_train::{
    Corpus, EngramRecipe, Measured, Parameters, Preset, Recipe, StepReport, Trainer,
};
use serde::Serialize;

use crate::{
    open::device,
    training::{self, Verbosity},
};

/// Train a small model with Engram tables on texts, and write it as a checkpoint
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files, and folders of .txt, .md and .rst files; the sample that comes with this command if not given
    #[arg(long, value_name = "PATH", num_args = 1..)]
    text: Vec<PathBuf>,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Folder for the checkpoint, the state of the training, and the two parts of the text, `training.txt` and
    /// `held_out.txt`
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Go on with the training that was stopped in this folder
    #[arg(long)]
    resume: bool,
    /// Compute on this CUDA device instead of the processor, in a build with the feature `cuda`
    #[arg(long, value_name = "NUMBER")]
    cuda: Option<usize>,
    /// Draw the loss here as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// A preset, and what shall be otherwise.
#[derive(clap::Args)]
pub(crate) struct RecipeArgs {
    /// Sizes: tiny, small or base
    #[arg(long, value_name = "NAME", default_value = "tiny", value_parser = Preset::ALL.map(Preset::name))]
    preset: String,
    /// Steps in all
    #[arg(long, value_name = "COUNT")]
    steps: Option<usize>,
    /// The largest learning rate
    #[arg(long)]
    rate: Option<f64>,
    /// Other weights and another order of the text
    #[arg(long)]
    seed: Option<u64>,
    /// Routed experts of a layer
    #[arg(long, value_name = "COUNT")]
    experts: Option<usize>,
    /// Rows of all tables together
    #[arg(long, value_name = "COUNT")]
    engram_rows: Option<u64>,
    /// Layers that Engram blocks are ahead of, from zero
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    engram_layers: Option<Vec<u32>>,
    /// No Engram blocks at all
    #[arg(long, conflicts_with_all = ["engram_rows", "engram_layers"])]
    no_engram: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    recipe: &'a Recipe,
    parameters: Parameters,
    held_out: Measured,
    steps: &'a [StepReport],
}

impl RecipeArgs {
    pub(crate) fn recipe(&self) -> Result<Recipe> {
        let preset = Preset::named(&self.preset).context("no such preset")?;
        let mut recipe = preset.recipe();
        recipe.steps = self.steps.unwrap_or(recipe.steps);
        recipe.rate = self.rate.unwrap_or(recipe.rate);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        recipe.experts = self.experts.unwrap_or(recipe.experts);
        recipe.engram = recipe.engram.filter(|_| !self.no_engram);
        if let Some(EngramRecipe { rows, layers, .. }) = &mut recipe.engram {
            *rows = self.engram_rows.unwrap_or(*rows);
            if let Some(of) = &self.engram_layers {
                layers.clone_from(of);
            }
        }
        Ok(recipe)
    }
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let recipe = self.recipe.recipe()?;
        let device = device(self.cuda)?;
        let texts = training::texts(&self.text)?;
        let corpus = Corpus::new(&texts, recipe.vocabulary)?;
        training::print_corpus(&texts, &corpus)?;
        let state = self.output.join(training::STATE_FILE);
        ensure!(
            self.resume || !state.exists(),
            "{} is there; go on with --resume, or take another folder",
            state.display()
        );
        training::write_texts(&texts, &self.output)?;
        let mut trainer = Trainer::new(recipe, &corpus, &device)?;
        training::print_parameters(&trainer.parameters())?;
        if self.resume && state.exists() {
            trainer.restore(&state)?;
            say!("going on at step {}", trainer.steps().len());
        }
        training::run(&mut trainer, Some(&state), Verbosity::Progress)?;
        let held_out = trainer.measure()?;
        training::print_held_out(&held_out)?;
        let checkpoint = self.output.join(training::CHECKPOINT_FOLDER);
        trainer.export(&checkpoint)?;
        say!("checkpoint: {}", checkpoint.display());
        let report = Report {
            recipe: trainer.recipe(),
            parameters: trainer.parameters(),
            held_out,
            steps: trainer.steps(),
        };
        training::plot(self.plot.as_deref(), trainer.steps())?;
        Outcome::new(&report)
    }
}
