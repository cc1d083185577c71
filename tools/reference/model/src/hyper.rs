//! Manifold-constrained hyper-connections: a residual stream of several copies, between which every unit chooses
//! what it reads, where it writes, and how the copies mix meanwhile ("mHC", DeepSeek-AI 2026, as in DeepSeek-V4).

use candle_core::{D, Tensor};
use candle_nn::{Linear, Module, ops::sigmoid};

use crate::{
    Config, Error,
    config::HyperConfig,
    grad::softmax,
    weights::{Init, Scope},
};

/// How a unit is joined to the residual stream, `[sequences, tokens, copies, hidden]`.
#[derive(Debug, Clone)]
pub(crate) enum Connection {
    /// The stream has one copy, and the result is added to it.
    Plain,
    Hyper(Hyper),
}

/// The learned connection of one unit.
#[derive(Debug, Clone)]
pub(crate) struct Hyper {
    mix: Mix,
    copies: usize,
    steps: usize,
    eps: f64,
}

/// Coefficients computed from all copies of a token together.
#[derive(Debug, Clone)]
struct Mix {
    weights: Linear,
    base: Tensor,
    scale: Tensor,
    norm_eps: f64,
}

impl Mix {
    /// Loads the weights for `count` coefficients a token, with `scales` scales.
    fn load(
        weights: &mut Scope<'_>,
        prefix: &str,
        config: &Config,
        [count, scales]: [usize; 2],
    ) -> Result<Self, Error> {
        let inputs = config.copies() * config.hidden_size;
        let mut tensor = |name: &str, shape: &[usize], init| {
            weights.tensor(&format!("{prefix}{name}"), shape, init)
        };
        Ok(Self {
            weights: Linear::new(tensor("fn", &[count, inputs], Init::Random(0.02))?, None),
            base: tensor("base", &[count], Init::Zeros)?,
            scale: tensor("scale", &[scales], Init::Ones)?,
            norm_eps: config.norm_eps,
        })
    }

    /// The coefficients before scale and base, `[sequences, tokens, count]`.
    fn coefficients(&self, stream: &Tensor) -> candle_core::Result<Tensor> {
        let flat = stream.flatten_from(2)?;
        let mean = flat.sqr()?.mean_keepdim(D::Minus1)?;
        let normed = flat.broadcast_div(&(mean + self.norm_eps)?.sqrt()?)?;
        self.weights.forward(&normed)
    }

    /// `count` of the coefficients from `start` on, which have the scale at `index`.
    fn part(
        &self,
        numbers: &Tensor,
        index: usize,
        start: usize,
        count: usize,
    ) -> candle_core::Result<Tensor> {
        let scaled = numbers
            .narrow(D::Minus1, start, count)?
            .broadcast_mul(&self.scale.narrow(0, index, 1)?)?;
        scaled.broadcast_add(&self.base.narrow(0, start, count)?)
    }
}

impl Connection {
    /// Loads the connection of the unit called `name`.
    pub(crate) fn load(
        weights: &mut Scope<'_>,
        name: &str,
        config: &Config,
    ) -> Result<Self, Error> {
        let Some(HyperConfig { copies, steps, eps }) = config.hyper else {
            return Ok(Self::Plain);
        };
        let count = (2 + copies) * copies;
        Ok(Self::Hyper(Hyper {
            mix: Mix::load(&mut weights.at(name), "", config, [count, 3])?,
            copies,
            steps,
            eps,
        }))
    }

    /// The stream after `unit`, which keeps the shape `[sequences, tokens, hidden]`.
    pub(crate) fn around(
        &self,
        stream: &Tensor,
        unit: impl FnOnce(&Tensor) -> Result<Tensor, Error>,
    ) -> Result<Tensor, Error> {
        match self {
            Self::Plain => Ok((stream + unit(&stream.squeeze(2)?)?.unsqueeze(2)?)?),
            Self::Hyper(hyper) => hyper.around(stream, unit),
        }
    }
}

impl Hyper {
    fn around(
        &self,
        stream: &Tensor,
        unit: impl FnOnce(&Tensor) -> Result<Tensor, Error>,
    ) -> Result<Tensor, Error> {
        let copies = self.copies;
        let numbers = self.mix.coefficients(stream)?;
        let read = (sigmoid(&self.mix.part(&numbers, 0, 0, copies)?)? + self.eps)?;
        let written = (sigmoid(&self.mix.part(&numbers, 1, copies, copies)?)? * 2.0)?;
        let mixed = self.mix.part(&numbers, 2, 2 * copies, copies * copies)?;
        let result = unit(&weighted_sum(&read, stream)?)?;
        let written = written
            .unsqueeze(D::Minus1)?
            .broadcast_mul(&result.unsqueeze(2)?)?;
        // The copy that each goes to is the last dimension of the matrix.
        let mixing = self.balanced(&mixed)?.transpose(2, 3)?.contiguous()?;
        Ok((written + mixing.matmul(stream)?)?)
    }

    /// Matrices of positive numbers, `[sequences, tokens, copies, copies]`, whose rows and columns have sums near
    /// one, by Sinkhorn and Knopp's iteration.
    fn balanced(&self, numbers: &Tensor) -> candle_core::Result<Tensor> {
        let (sequences, tokens, _) = numbers.dims3()?;
        let shape = (sequences, tokens, self.copies, self.copies);
        let mut matrix = (softmax(&numbers.reshape(shape)?)? + self.eps)?;
        for step in 0..self.steps {
            if step > 0 {
                matrix = self.divided(&matrix, 3)?;
            }
            matrix = self.divided(&matrix, 2)?;
        }
        Ok(matrix)
    }

    /// `matrix` divided by its sums over `dim`.
    fn divided(&self, matrix: &Tensor, dim: usize) -> candle_core::Result<Tensor> {
        matrix.broadcast_div(&(matrix.sum_keepdim(dim)? + self.eps)?)
    }
}

/// The weighted sum of the copies of `stream`, `[sequences, tokens, hidden]`.
fn weighted_sum(weights: &Tensor, stream: &Tensor) -> candle_core::Result<Tensor> {
    weights
        .unsqueeze(2)?
        .contiguous()?
        .matmul(stream)?
        .squeeze(2)
}

/// Learned weights that join all copies into one.
#[derive(Debug, Clone)]
pub(crate) struct Gather {
    mix: Mix,
    eps: f64,
}

/// How the copies become one, after the last layer.
#[derive(Debug, Clone)]
pub(crate) enum Collapse {
    Plain,
    Hyper(Gather),
}

impl Collapse {
    pub(crate) fn load(weights: &mut Scope<'_>, config: &Config) -> Result<Self, Error> {
        let Some(hyper) = &config.hyper else {
            return Ok(Self::Plain);
        };
        let mut weights = weights.at("model.hc_head");
        Ok(Self::Hyper(Gather {
            mix: Mix::load(&mut weights, "hc_", config, [hyper.copies, 1])?,
            eps: hyper.eps,
        }))
    }

    /// The copies of `stream` joined into one, `[sequences, tokens, hidden]`.
    pub(crate) fn joined(&self, stream: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Plain => stream.squeeze(2),
            Self::Hyper(Gather { mix, eps }) => {
                let copies = stream.dim(2)?;
                let read = sigmoid(&mix.part(&mix.coefficients(stream)?, 0, 0, copies)?)?;
                weighted_sum(&(read + *eps)?, stream)
            }
        }
    }
}
