//! Models that are looked into.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use candle_core::Tensor;
use engram_checkpoint::Family;
use engram_model::{Engram, Model, inside::Streams};
use tokenizers::Tokenizer;

use crate::{
    open::{ModelArgs, encode, tokenizer},
    text::{Text, TextArgs},
};

/// A second model.
#[derive(clap::Args)]
pub(crate) struct AgainstArgs {
    /// Folder of a second model with the same tokenizer
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Pack with the rows of its Engram layers, if it has any
    #[arg(long, value_name = "PACK", requires = "against")]
    against_pack: Option<PathBuf>,
}

/// A model, with its rows where it has Engram layers.
pub(crate) struct Subject {
    name: String,
    model: Model,
    engram: Option<Engram>,
}

/// Whether rows join the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    Added,
    /// All gates are shut: the weights are the same, rows contribute nothing.
    ShutOut,
}

/// What was seen of one window.
pub(crate) struct Pass {
    /// The residual stream at each depth, `[1, tokens, copies, hidden_size]`.
    pub(crate) depths: Vec<Tensor>,
    /// `[tokens, vocab_size]`.
    pub(crate) logits: Tensor,
    /// Of each Engram layer, `[1, tokens, copies]`; none where rows are shut out.
    pub(crate) gates: Vec<Tensor>,
}

impl Subject {
    pub(crate) fn open(args: &ModelArgs) -> Result<Self> {
        Ok(Self {
            name: name(&args.model),
            // What is checked soonest comes first: weights take a while.
            engram: Some(args.engram_with(args.config()?)?),
            model: args.load_model()?,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// The layers that have Engram blocks.
    pub(crate) fn engram_layers(&self) -> Vec<usize> {
        let layers = self.engram.iter().flat_map(Engram::layers);
        layers.collect()
    }

    /// Computes one window, of which nothing is remembered.
    pub(crate) fn pass(&self, tokens: &[u32], rows: Rows) -> Result<Pass> {
        let mut cache = self.model.cache(1);
        let engram = self.engram.as_ref().filter(|_| rows == Rows::Added);
        let Some(engram) = engram else {
            let mut streams = Streams::new(());
            let logits = self.model.forward(&[tokens], &mut cache, &mut streams)?;
            return Ok(Pass::new(streams.depths(), logits, &[]));
        };
        let mut session = engram.session(1);
        session.record_gates();
        let mut streams = Streams::new(&mut session);
        let logits = self.model.forward(&[tokens], &mut cache, &mut streams)?;
        let depths = streams.depths().to_vec();
        Ok(Pass::new(&depths, logits, session.gates()))
    }
}

impl Pass {
    fn new(depths: &[Tensor], mut logits: Vec<Tensor>, gates: &[Tensor]) -> Self {
        Self {
            depths: depths.to_vec(),
            logits: logits.remove(0),
            gates: gates.to_vec(),
        }
    }
}

impl AgainstArgs {
    /// The model of `first`, and the second one where one is named: opened in the same way, and known to see the same
    /// tokens in the text.
    pub(crate) fn open(
        &self,
        first: &ModelArgs,
        text: &TextArgs,
        tokens: &Text,
    ) -> Result<(Subject, Option<Subject>)> {
        let Some(folder) = &self.against else {
            return Ok((Subject::open(first)?, None));
        };
        check_tokenizer(&first.model, folder, text, tokens)?;
        let mut second = self.open_second(folder, first)?;
        let first_folder = &first.model;
        let mut first = Subject::open(first)?;
        [first.name, second.name] = names([first_folder, folder]);
        Ok((first, Some(second)))
    }

    fn open_second(&self, folder: &Path, first: &ModelArgs) -> Result<Subject> {
        let mut args = first.clone();
        args.model = folder.into();
        if let Some(pack) = &self.against_pack {
            args.pack.clone_from(pack);
            return Subject::open(&args);
        }
        if let Ok(family) = Family::read(folder) {
            bail!(
                "{} has the Engram fields of {}: name the pack of its rows by --against-pack",
                folder.display(),
                family.name()
            );
        }
        Ok(Subject {
            name: name(folder),
            model: args.load_model()?,
            engram: None,
        })
    }
}

/// Whether both models have the same tokens, and find the same ones in the text.
fn check_tokenizer(first: &Path, second: &Path, text: &TextArgs, tokens: &Text) -> Result<()> {
    let (ours, theirs) = (tokenizer(first)?, tokenizer(second)?);
    let (first, second) = (first.display(), second.display());
    let [known, other] = [&ours, &theirs].map(|of: &Tokenizer| of.get_vocab(true));
    let differs = known
        .iter()
        .find(|(token, id)| other.get(*token) != Some(id));
    if let Some((token, id)) = differs {
        let found = other.get(token).map(u32::to_string);
        bail!(
            "the tokenizers differ: `{token}` is {id} in {first}, {} in {second}",
            found.as_deref().unwrap_or("no token")
        );
    }
    ensure!(
        known.len() == other.len(),
        "the tokenizers differ: {first} has {} tokens, {second} {}",
        known.len(),
        other.len()
    );
    let found = encode(&theirs, &text.read()?)?;
    let differs = tokens.ids().iter().zip(&found).position(|(a, b)| a != b);
    if let Some(position) = differs {
        bail!(
            "the tokenizers differ: token {position} of the text is {} in {first}, {} in {second}",
            tokens.ids()[position],
            found[position]
        );
    }
    Ok(())
}

/// The last part of a folder's path.
fn name(folder: &Path) -> String {
    let last = folder.file_name().unwrap_or(folder.as_os_str());
    last.to_string_lossy().into_owned()
}

/// The last parts of two folders' paths that differ.
fn names(folders: [&Path; 2]) -> [String; 2] {
    let [first, second] = folders.map(|folder| folder.components().rev());
    let differ = first.zip(second).find(|(a, b)| a != b);
    match differ {
        Some((a, b)) => [a, b].map(|part| part.as_os_str().to_string_lossy().into_owned()),
        None => folders.map(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_models_are_called_by_what_differs() {
        for (folders, expected) in [
            (["a/with", "a/without"], ["with", "without"]),
            (
                ["with/checkpoint", "without/checkpoint/"],
                ["with", "without"],
            ),
            (
                ["checkpoint", "other/checkpoint"],
                ["checkpoint", "checkpoint"],
            ),
            (["a", "a"], ["a", "a"]),
        ] {
            assert_eq!(names(folders.map(Path::new)), expected);
        }
    }
}
