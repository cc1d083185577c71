//! Texts as tokens.

use engram_format::{Digest, Digester};

use crate::{Error, Texts, Vocabulary};

/// A vocabulary, and the tokens to learn from and to measure on.
#[derive(Debug, Clone)]
pub struct Corpus {
    vocabulary: Vocabulary,
    training: Vec<u32>,
    held_out: Vec<u32>,
    digest: Digest,
}

impl Corpus {
    /// Learns a vocabulary of up to `size` tokens from the training part of `texts`.
    ///
    /// # Errors
    /// Those of [`Vocabulary::learn`].
    pub fn new(texts: &Texts, size: usize) -> Result<Self, Error> {
        let vocabulary = Vocabulary::learn(&texts.training, size)?;
        let (training, held_out) = (
            vocabulary.encode(&texts.training)?,
            vocabulary.encode(&texts.held_out)?,
        );
        let mut digester = Digester::new();
        digester.update(vocabulary.json());
        for tokens in [&training, &held_out] {
            digester.update(bytemuck::cast_slice(tokens));
        }
        Ok(Self {
            digest: digester.finish(),
            vocabulary,
            training,
            held_out,
        })
    }

    /// The vocabulary.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The tokens that are learned from.
    pub fn training(&self) -> &[u32] {
        &self.training
    }

    /// The tokens that are measured on.
    pub fn held_out(&self) -> &[u32] {
        &self.held_out
    }

    /// A digest of the vocabulary and all tokens.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}
