//! Experts: every token goes to a few of them, and to the shared ones.

use candle_core::{D, DType, Tensor};
use candle_nn::{
    Linear, Module,
    ops::{sigmoid, softmax},
};

use crate::{
    Error,
    config::MoeConfig,
    mlp::Mlp,
    routing::{Method, Routing},
    weights::{Init, Scope},
};

#[derive(Debug, Clone)]
pub(crate) struct Moe {
    router: Linear,
    /// One for each expert, or none.
    correction: Vec<f32>,
    routing: Routing,
    experts: Vec<Mlp>,
    shared: Option<Mlp>,
}

/// The tokens of one expert.
#[derive(Debug, Clone, Default)]
struct Share {
    tokens: Vec<u32>,
    weights: Vec<f32>,
}

impl Moe {
    pub(crate) fn load(
        mut weights: Scope<'_>,
        hidden: usize,
        config: &MoeConfig,
    ) -> Result<Self, Error> {
        let router = weights.linear("gate", hidden, config.experts, false)?;
        let correction = match config.routing.method {
            Method::Corrected => {
                let name = "gate.e_score_correction_bias";
                weights
                    .tensor(name, &[config.experts], Init::Zeros)?
                    .to_vec1()?
            }
            Method::Greedy | Method::GroupLimited => Vec::new(),
        };
        let experts = (0..config.experts)
            .map(|expert| {
                Mlp::load(
                    weights.at(format!("experts.{expert}")),
                    hidden,
                    config.inner,
                )
            })
            .collect::<Result<_, Error>>()?;
        let shared = match config.shared {
            0 => None,
            count => Some(Mlp::load(
                weights.at("shared_experts"),
                hidden,
                config.inner * count,
            )?),
        };
        Ok(Self {
            router,
            correction,
            routing: config.routing.clone(),
            experts,
            shared,
        })
    }

    /// Keeps the shape of `x`, `[batch, tokens, hidden]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        let flat = x.flatten_to(1)?;
        let mut sum = match &self.shared {
            Some(shared) => shared.forward(&flat)?,
            None => flat.zeros_like()?,
        };
        for (expert, share) in self.experts.iter().zip(self.shares(&flat)?) {
            let count = share.tokens.len();
            if count == 0 {
                continue;
            }
            let tokens = Tensor::from_vec(share.tokens, count, x.device())?;
            let weights = Tensor::from_vec(share.weights, (count, 1), x.device())?;
            let given = expert.forward(&flat.index_select(&tokens, 0)?)?;
            sum = sum.index_add(&tokens, &given.broadcast_mul(&weights)?, 0)?;
        }
        Ok(sum.reshape(x.shape())?)
    }

    /// For each expert the rows of `flat`, `[tokens, hidden]`, that go to it.
    fn shares(&self, flat: &Tensor) -> Result<Vec<Share>, Error> {
        let logits = self.router.forward(flat)?;
        let scores = match self.routing.method {
            Method::Corrected => sigmoid(&logits)?,
            Method::Greedy | Method::GroupLimited => softmax(&logits, D::Minus1)?,
        };
        let mut shares = vec![Share::default(); self.experts.len()];
        for (token, scores) in (0..).zip(scores.to_dtype(DType::F32)?.to_vec2::<f32>()?) {
            for (expert, weight) in self.routing.choose(&scores, &self.correction) {
                shares[expert].tokens.push(token);
                shares[expert].weights.push(weight);
            }
        }
        Ok(shares)
    }
}
