//! What a model would say if it stopped early: the logit lens (nostalgebraist, 2020).

use std::f64::consts::LN_2;

use candle_core::{D, Tensor};
use candle_nn::ops::log_softmax;

use crate::{Error, Model};

/// How far what each depth says of the next token is from what the model says in the end, over some positions.
#[derive(Debug, Clone, Default)]
pub struct Lens {
    /// Of each depth: nats, and how often the likeliest token is the same.
    sums: Vec<(f64, f64)>,
    positions: usize,
}

/// What one depth says, as a mean over positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LensStats {
    /// The Kullback-Leibler divergence of its distribution from the final one, in bits: what a code made for it would
    /// waste on tokens drawn from the final one.
    pub divergence: f64,
    /// The share of positions where the likeliest token is the final one.
    pub agreement: f64,
}

impl Lens {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the positions of `depths`, the streams of one pass of `model` as [`Streams`](super::Streams) keeps them.
    /// All positions count, so its sequences must be of the same length.
    ///
    /// # Errors
    /// No streams, or of other shapes than the model's; logits that are not numbers.
    ///
    /// # Panics
    /// If there are not as many streams as before.
    pub fn add(&mut self, model: &Model, depths: &[Tensor]) -> Result<(), Error> {
        let Some(last) = depths.last() else {
            return Err(Error::NoTokens { sequences: 0 });
        };
        let says = |stream: &Tensor| -> Result<Tensor, Error> {
            Ok(log_softmax(&model.read_out(stream)?, D::Minus1)?)
        };
        let last = says(last)?;
        let (probabilities, likeliest) = (last.exp()?, last.argmax(D::Minus1)?);
        if self.sums.is_empty() {
            self.sums = vec![(0.0, 0.0); depths.len()];
        }
        assert_eq!(self.sums.len(), depths.len(), "streams of one model");
        for (sum, stream) in self.sums.iter_mut().zip(depths) {
            let said = says(stream)?;
            let nats = (&probabilities * (&last - &said)?)?.sum(D::Minus1)?;
            let nats: f64 = values(&nats)?.into_iter().map(f64::from).sum();
            if nats.is_nan() {
                return Err(Error::NotANumber { sequence: 0 });
            }
            sum.0 += nats;
            let same = said.argmax(D::Minus1)?.eq(&likeliest)?;
            let same = same.flatten_all()?.to_vec1::<u8>()?;
            sum.1 += same.into_iter().map(f64::from).sum::<f64>();
        }
        self.positions += likeliest.elem_count();
        Ok(())
    }

    /// Positions that were added.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// What each depth said; nothing before positions were added.
    #[expect(clippy::cast_precision_loss, reason = "fewer positions than 2^53")]
    pub fn stats(&self) -> Vec<LensStats> {
        let positions = self.positions as f64;
        let stats = self.sums.iter().map(|(nats, same)| LensStats {
            divergence: nats / LN_2 / positions,
            agreement: same / positions,
        });
        stats.collect()
    }
}

fn values(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}
