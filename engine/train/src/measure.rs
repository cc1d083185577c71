//! How well a model predicts a text.

use std::f64::consts::LN_2;

use candle_core::Tensor;
use engram_model::cross_entropy;
use serde::{Deserialize, Serialize};

use crate::{Error, Trainer};

/// How well a held-out text is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Tokens that were predicted.
    pub tokens: u64,
    /// Bytes that they stand for.
    pub bytes: u64,
    /// The mean of what a token costs, in nats.
    pub loss: f64,
    /// What a byte of text costs, in bits.
    pub bits_per_byte: f64,
}

impl Trainer<'_> {
    /// Predicts up to [`Recipe::measured`](crate::Recipe::measured) of the held-out tokens from the beginning on, window
    /// by window: each token once, with what is before it in its window.
    ///
    /// # Errors
    /// Fewer tokens than two, and a computation that fails.
    #[expect(clippy::cast_precision_loss, reason = "texts are below 2^52 bytes")]
    pub fn measure(&self) -> Result<Measured, Error> {
        let (recipe, tokens) = (&self.recipe, self.corpus.held_out());
        let count = recipe.measured.min(tokens.len().saturating_sub(1));
        if count == 0 {
            return Err(Error::TooLittle {
                what: "the text to measure on",
                found: format!("{} tokens", tokens.len()),
                expected: "2".into(),
            });
        }
        let model = self.model()?;
        let windows: Vec<&[u32]> = (0..count)
            .step_by(recipe.window)
            .map(|start| &tokens[start..=(start + recipe.window).min(count)])
            .collect();
        let mut nats = 0.0;
        for windows in windows.chunks(recipe.sequences) {
            let mut memory = self.recall(windows.len())?;
            let inputs: Vec<&[u32]> = windows
                .iter()
                .map(|window| &window[..window.len() - 1])
                .collect();
            let logits = model.forward(&inputs, &mut model.cache(windows.len()), &mut memory)?;
            for (logits, window) in logits.iter().zip(windows) {
                let targets = Tensor::new(&window[1..], logits.device())?;
                let mean = cross_entropy(logits, &targets)?.to_scalar::<f32>()?;
                nats += f64::from(mean) * (window.len() - 1) as f64;
            }
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
