//! Rotary position embedding.

mod yarn;

use candle_core::{Device, Result, Tensor};
use candle_nn::rotary_emb;

use crate::grad::rotated;

pub(crate) use yarn::Yarn;

/// Parameters of the rotary embedding.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RopeConfig {
    pub(crate) theta: f64,
    /// Whether pairs lie side by side, or half the dimensions apart.
    pub(crate) interleave: bool,
    pub(crate) yarn: Option<Yarn>,
}

/// The rotation of all positions.
#[derive(Debug, Clone)]
pub(crate) struct Rotary {
    /// Angle from one position to the next, for each pair.
    frequencies: Vec<f32>,
    /// Factor that rotated values are scaled by.
    scale: f64,
    interleave: bool,
}

impl Rotary {
    /// The rotation of vectors of `dim` values, an even number.
    pub(crate) fn new(config: &RopeConfig, dim: usize) -> Self {
        let plain = frequencies(config.theta, dim);
        let (frequencies, scale) = match &config.yarn {
            Some(yarn) => (
                yarn.frequencies(&plain, config.theta),
                yarn.rotation_scale(),
            ),
            None => (plain, 1.0),
        };
        Self {
            frequencies,
            scale,
            interleave: config.interleave,
        }
    }

    /// The rotation of the positions of each sequence, `[sequences][tokens]`.
    #[expect(
        clippy::cast_precision_loss,
        reason = "positions below 2^24 are exact, as in the models"
    )]
    pub(crate) fn rotation(&self, positions: &[Vec<usize>], device: &Device) -> Result<Rotation> {
        let tokens = positions.first().map_or(0, Vec::len);
        let shape = (positions.len(), tokens, self.frequencies.len());
        let angles = positions.iter().flatten();
        let angles = angles
            .flat_map(|&position| self.frequencies.iter().map(move |f| position as f32 * f))
            .collect();
        let angles = Tensor::from_vec(angles, shape, device)?;
        Ok(Rotation {
            cos: (angles.cos()? * self.scale)?,
            sin: (angles.sin()? * self.scale)?,
            interleave: self.interleave,
        })
    }
}

/// `theta` to the power of minus an even index over `dim`, in the f32 steps of the models.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "dimensions of heads are small"
)]
fn frequencies(theta: f64, dim: usize) -> Vec<f32> {
    let power = |index: usize| (theta as f32).powf(index as f32 / dim as f32);
    (0..dim)
        .step_by(2)
        .map(|index| 1.0 / power(index))
        .collect()
}

/// The rotation of some positions, `[sequences, tokens, pairs]` each.
#[derive(Debug)]
pub(crate) struct Rotation {
    cos: Tensor,
    sin: Tensor,
    interleave: bool,
}

impl Rotation {
    /// Rotates `x`, `[sequences, heads, tokens, 2 * pairs]`.
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let rotate = if self.interleave {
            rotary_emb::rope_i
        } else {
            rotary_emb::rope
        };
        let (cos, sin) = (self.cos.clone(), self.sin.clone());
        // The inverse rotation has the opposite angles.
        let back = move |gradient: &Tensor| rotate(gradient, &cos, &sin.neg()?);
        rotated(&x.contiguous()?, |x| rotate(x, &self.cos, &self.sin), back)
    }
}
