//! How well a model predicts a text.

use std::f64::consts::LN_2;

use serde::{Deserialize, Serialize};

use crate::{Error, Trainer};

/// How well a held-out text is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Tokens that were predicted.
    pub tokens: u64,
    /// Bytes of text that these tokens stand for.
    pub bytes: u64,
    /// The mean cross entropy of a token, in nats.
    pub loss: f64,
    /// The mean cross entropy of a byte of text, in bits.
    pub bits_per_byte: f64,
}

impl Trainer<'_> {
    /// Predicts up to [`Recipe::measured`](crate::Recipe::measured) of the held-out tokens from the beginning on, in
    /// whole windows: each token once, with what is before it in its window.
    ///
    /// # Errors
    /// Fewer tokens than a window, and a computation that fails.
    pub fn measure(&self) -> Result<Measured, Error> {
        // On the thread pool, as a step.
        rayon::scope(|_| self.measure_here())
    }

    #[expect(clippy::cast_precision_loss, reason = "texts are below 2^52 bytes")]
    fn measure_here(&self) -> Result<Measured, Error> {
        let (recipe, tokens) = (&self.recipe, self.corpus.held_out());
        let windows = recipe.measured.min(tokens.len().saturating_sub(1)) / recipe.window;
        if windows == 0 {
            return Err(Error::TooLittle {
                what: "the text to measure on",
                found: format!("{} tokens", tokens.len()),
                expected: format!("{}", recipe.window + 1),
            });
        }
        let count = windows * recipe.window;
        let (inputs, targets) = (&tokens[..count], &tokens[1..=count]);
        let batch = recipe.sequences * recipe.window;
        let model = self.model()?;
        let mut nats = 0.0;
        for (inputs, targets) in inputs.chunks(batch).zip(targets.chunks(batch)) {
            let (inputs, targets) = (cut(inputs, recipe.window), cut(targets, recipe.window));
            let (mut cache, mut memory) = (model.cache(inputs.len()), self.session(inputs.len())?);
            let mean = model.loss(&inputs, &targets, &mut cache, &mut memory)?;
            nats += f64::from(mean.to_scalar::<f32>()?) * (inputs.len() * recipe.window) as f64;
        }
        let bytes = self.corpus.vocabulary().bytes(&tokens[1..=count]);
        Ok(Measured {
            tokens: count as u64,
            bytes,
            loss: nats / count as f64,
            bits_per_byte: nats / LN_2 / bytes as f64,
        })
    }
}

fn cut(tokens: &[u32], window: usize) -> Vec<&[u32]> {
    tokens.chunks_exact(window).collect()
}
