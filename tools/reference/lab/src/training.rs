//! What all commands that train have in common.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Result;
use engram_io::{create_folder, publish_bytes};
use engram_kit::{
    plot::{Curve, Labels, Point, curves},
    report::figure,
    say,
};
use engram_train::{
    Corpus, Measured, Parameters, SAMPLE, StepReport, Texts, Trainer, read_documents,
};

/// Name of a training's state in its folder.
pub(crate) const STATE_FILE: &str = "state.safetensors";
/// Name of the checkpoint's folder in that of a training.
pub(crate) const CHECKPOINT_FOLDER: &str = "checkpoint";
/// The share of the text that is held out.
const HELD_OUT: f64 = 0.05;
/// The same text is held out whatever the seed of a training.
const SPLIT_SEED: u64 = 0;
/// A training that is stopped loses no more than this.
const SAVE_EVERY: Duration = Duration::from_mins(2);
const PRINT_EVERY: Duration = Duration::from_secs(10);

/// What is printed during a training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    Progress,
    Quiet,
}

/// The documents at `paths`, or the sample, split.
pub(crate) fn texts(paths: &[PathBuf]) -> Result<Texts> {
    let documents = if paths.is_empty() {
        vec![SAMPLE.to_owned()]
    } else {
        read_documents(paths)?
    };
    Ok(Texts::split(&documents, HELD_OUT, SPLIT_SEED)?)
}

/// Writes both parts of `texts` to the folder `out`, for those who measure the model later.
pub(crate) fn write_texts(texts: &Texts, out: &Path) -> Result<()> {
    create_folder(out)?;
    for (name, documents) in [
        ("training.txt", &texts.training),
        ("held_out.txt", &texts.held_out),
    ] {
        publish_bytes(&out.join(name), documents.concat().as_bytes())?;
    }
    Ok(())
}

pub(crate) fn print_corpus(texts: &Texts, corpus: &Corpus) -> Result<()> {
    let unit = if texts.by_document {
        "documents"
    } else {
        "parts"
    };
    say!(
        "text: {} tokens of {} {unit} to learn from, {} of {} held out, a vocabulary of {}",
        corpus.training().len(),
        texts.training.len(),
        corpus.held_out().len(),
        texts.held_out.len(),
        corpus.vocabulary().size()
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts for people")]
pub(crate) fn print_parameters(parameters: &Parameters) -> Result<()> {
    let short = |count: u64| figure(count as f64);
    say!(
        "parameters: {}, {} of them for a token; {} in experts, {} in rows, {} in embedding and head",
        short(parameters.total()),
        short(parameters.active()),
        short(parameters.experts),
        short(parameters.rows),
        short(parameters.vocabulary)
    );
    Ok(())
}

pub(crate) fn print_held_out(held_out: &Measured) -> Result<()> {
    say!(
        "held out: {:.4} bits a byte, a loss of {:.4} over {} tokens",
        held_out.bits_per_byte,
        held_out.loss,
        held_out.tokens
    );
    Ok(())
}

/// Makes the steps that are left. The state goes to `state`, where one is named, now and then and at the end.
#[expect(clippy::cast_precision_loss, reason = "few tokens")]
pub(crate) fn run(
    trainer: &mut Trainer<'_>,
    state: Option<&Path>,
    verbosity: Verbosity,
) -> Result<()> {
    let (start, first) = (Instant::now(), trainer.steps().len());
    let (mut printed, mut saved) = (start, start);
    while !trainer.is_done() {
        let step = trainer.step()?;
        let done = trainer.steps().len();
        let last = trainer.is_done();
        if verbosity == Verbosity::Progress
            && (last || done == 1 || printed.elapsed() > PRINT_EVERY)
        {
            printed = Instant::now();
            let recipe = trainer.recipe();
            let tokens = (done - first) * recipe.sequences * recipe.window;
            say!(
                "step {done} of {}: loss {:.3}, rate {:.5}, busiest expert {:.2} times the mean, {} tokens a second",
                recipe.steps,
                step.loss,
                step.rate,
                step.imbalance,
                figure(tokens as f64 / start.elapsed().as_secs_f64())
            );
        }
        if let Some(state) = state.filter(|_| last || saved.elapsed() > SAVE_EVERY) {
            trainer.save(state)?;
            saved = Instant::now();
        }
    }
    Ok(())
}

/// Draws the loss over the steps.
#[expect(clippy::cast_precision_loss, reason = "few steps")]
pub(crate) fn plot(path: Option<&Path>, steps: &[StepReport]) -> Result<()> {
    let labels = Labels {
        title: "training",
        x: "step",
        y: "loss, nats a token",
    };
    let points = steps.iter().enumerate().map(|(step, report)| Point {
        x: step as f64,
        y: report.loss,
        deviation: 0.0,
    });
    let curve = Curve {
        name: "loss".into(),
        points: points.collect(),
    };
    curves(path, labels, &[curve])
}
