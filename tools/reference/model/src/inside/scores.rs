//! How well tokens were foreseen.

use std::f64::consts::LN_2;

use candle_core::{D, Tensor};
use candle_nn::ops::log_softmax;

use crate::{Error, error::expect_shape};

/// How well one token was foreseen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The negative logarithm of its probability, to base two.
    pub bits: f64,
    /// Whether it was the likeliest.
    pub likeliest: bool,
}

/// The scores of `tokens` by `logits`, `[tokens, vocab_size]`, the first row being of what comes before the first
/// token.
///
/// # Errors
/// Another number of rows, a token outside the vocabulary, logits that are not numbers.
pub fn scores(logits: &Tensor, tokens: &[u32]) -> Result<Vec<Score>, Error> {
    let (_, vocabulary) = logits.dims2()?;
    expect_shape("the tensor of logits", logits, &[tokens.len(), vocabulary])?;
    let outside = |&token: &u32| token as usize >= vocabulary;
    if let Some(position) = tokens.iter().position(outside) {
        return Err(Error::Token {
            token: tokens[position],
            sequence: 0,
            position,
            vocabulary,
        });
    }
    if tokens.is_empty() {
        return Ok(Vec::new());
    }
    let places = Tensor::new(tokens, logits.device())?.unsqueeze(1)?;
    let nats = log_softmax(logits, D::Minus1)?.gather(&places, 1)?;
    let nats = nats.squeeze(1)?.to_vec1::<f32>()?;
    if nats.iter().any(|nats| nats.is_nan()) {
        return Err(Error::NotANumber { sequence: 0 });
    }
    let likeliest = logits.argmax(D::Minus1)?.to_vec1::<u32>()?;
    let scores = nats.iter().zip(&likeliest).zip(tokens);
    let scores = scores.map(|((&nats, likeliest), token)| Score {
        bits: -f64::from(nats) / LN_2,
        likeliest: likeliest == token,
    });
    Ok(scores.collect())
}
