//! A model and a text, and perhaps a second model to compare with.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail, ensure};
use engram_checkpoint::Family;
use engram_kit::envelope::Outcome;
use serde::Serialize;
use tokenizers::Tokenizer;

use crate::{
    model_under_study::ModelUnderStudy,
    open::{ModelArgs, encode, tokenizer},
    text::{Text, TextArgs},
};

/// What is compared, and where the results go.
#[derive(clap::Args)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Folder of a second model with the same tokenizer
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Pack with the rows of its Engram layers, if it has any
    #[arg(long, value_name = "PACK", requires = "against")]
    against_pack: Option<PathBuf>,
    #[command(flatten)]
    text: TextArgs,
    /// Draw them to this SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// What was opened.
pub(crate) struct Compared {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) text: Text,
    pub(crate) studied: ModelUnderStudy,
    pub(crate) against: Option<ModelUnderStudy>,
    /// Of both; the same where there is one.
    pub(crate) names: [String; 2],
}

impl CompareArgs {
    pub(crate) fn open(&self) -> Result<Compared> {
        let tokenizer = self.model.tokenizer()?;
        let text = self.text.encode(&tokenizer)?;
        let ours = self.model.model.as_path();
        let theirs = self.against.as_deref();
        if let Some(theirs) = theirs {
            self.check_tokenizer(&tokenizer, theirs, &text)?;
        }
        Ok(Compared {
            names: names([ours, theirs.unwrap_or(ours)]),
            against: theirs.map(|dir| self.open_against(dir)).transpose()?,
            studied: ModelUnderStudy::open(&self.model)?,
            tokenizer,
            text,
        })
    }

    /// The second model, opened in the same way as the first.
    fn open_against(&self, folder: &Path) -> Result<ModelUnderStudy> {
        let mut args = self.model.clone();
        args.model = folder.into();
        if let Some(pack) = &self.against_pack {
            args.pack.clone_from(pack);
            return ModelUnderStudy::open(&args);
        }
        if let Ok(family) = Family::read(folder) {
            bail!(
                "{} has the Engram fields of {}: name the pack of its rows by --against-pack",
                folder.display(),
                family.name()
            );
        }
        ModelUnderStudy::open_plain(&args)
    }

    /// Whether both models have the same tokens, and find the same ones in the text.
    fn check_tokenizer(&self, ours: &Tokenizer, second: &Path, text: &Text) -> Result<()> {
        let theirs = tokenizer(second)?;
        let (first, second) = (self.model.model.display(), second.display());
        let [known, other] = [ours, &theirs].map(|of| of.get_vocab(true));
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
        let found = encode(&theirs, &self.text.read()?)?;
        let differs = text.ids().iter().zip(&found).position(|(a, b)| a != b);
        if let Some(position) = differs {
            bail!(
                "the tokenizers differ: token {position} of the text is {} in {first}, {} in {second}",
                text.ids()[position],
                found[position]
            );
        }
        Ok(())
    }

    /// What a command has done that reports `report`.
    pub(crate) fn outcome(&self, report: &impl Serialize) -> Result<Outcome> {
        Ok(Outcome::new(report)?.of_pack(&self.model.pack))
    }

    /// Where the picture goes.
    pub(crate) fn plot(&self) -> Option<&Path> {
        self.plot.as_deref()
    }
}

/// The last parts of two folders' paths that differ.
fn names(folders: [&Path; 2]) -> [String; 2] {
    let [first, second] = folders.map(|folder| folder.components().rev());
    let name = |part: &OsStr| part.to_string_lossy().into_owned();
    match first.zip(second).find(|(a, b)| a != b) {
        Some((a, b)) => [a, b].map(|part| name(part.as_os_str())),
        None => folders.map(|folder| name(folder.file_name().unwrap_or(folder.as_os_str()))),
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
