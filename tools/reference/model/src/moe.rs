//! Mixture of experts: every token goes to a few routed experts, and to the shared ones.

use candle_core::{D, DType, Tensor};
use candle_nn::{
    Linear, Module,
    ops::{sigmoid, softmax},
};

use crate::{
    Error,
    config::MoeConfig,
    mlp::Mlp,
    routing::{Method, NO_WEIGHT, Routing},
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
    /// Where the weights are among those of all tokens, `[tokens * chosen]`.
    places: Vec<u32>,
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

    /// Keeps the shape of `x`, `[batch, tokens, hidden]`. `routed` is told how many tokens each expert was given.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        routed: &mut dyn FnMut(&[usize]),
    ) -> Result<Tensor, Error> {
        let flat = x.flatten_to(1)?;
        let mut sum = match &self.shared {
            Some(shared) => shared.forward(&flat)?,
            None => flat.zeros_like()?,
        };
        let scores = self.scores(&flat)?;
        let shares = self.shares(&scores)?;
        let counts: Vec<usize> = shares.iter().map(|share| share.tokens.len()).collect();
        routed(&counts);
        let tracked = scores
            .track_op()
            .then(|| self.tracked_weights(&scores, &shares))
            .transpose()?;
        for ((expert, share), count) in self.experts.iter().zip(shares).zip(counts) {
            if count == 0 {
                continue;
            }
            let tokens = Tensor::from_vec(share.tokens, count, x.device())?;
            let weights = match &tracked {
                Some(all) => {
                    let places = Tensor::from_vec(share.places, count, x.device())?;
                    all.index_select(&places, 0)?
                }
                None => Tensor::from_vec(share.weights, (count, 1), x.device())?,
            };
            let given = expert.forward(&flat.index_select(&tokens, 0)?)?;
            sum = sum.index_add(&tokens, &given.broadcast_mul(&weights)?, 0)?;
        }
        Ok(sum.reshape(x.shape())?)
    }

    /// `[tokens, experts]` for `flat`, `[tokens, hidden]`.
    fn scores(&self, flat: &Tensor) -> candle_core::Result<Tensor> {
        let logits = self.router.forward(flat)?;
        let scores = match self.routing.method {
            Method::Corrected => sigmoid(&logits)?,
            Method::Greedy | Method::GroupLimited => softmax(&logits, D::Minus1)?,
        };
        scores.to_dtype(DType::F32)
    }

    /// The weights that [`Routing::choose`] gives, made of `scores` so that gradients go back to the router,
    /// `[tokens * chosen, 1]`.
    fn tracked_weights(&self, scores: &Tensor, shares: &[Share]) -> candle_core::Result<Tensor> {
        let (tokens, chosen) = (scores.dim(0)?, self.routing.chosen);
        let mut experts = vec![0; tokens * chosen];
        for (expert, share) in (0_u32..).zip(shares) {
            for &place in &share.places {
                experts[place as usize] = expert;
            }
        }
        let experts = Tensor::from_vec(experts, (tokens, chosen), scores.device())?;
        let mut weights = scores.gather(&experts, 1)?;
        if self.routing.normalize {
            let sum = (weights.sum_keepdim(1)? + f64::from(NO_WEIGHT))?;
            weights = weights.broadcast_div(&sum)?;
        }
        let weights = (weights * f64::from(self.routing.scale))?;
        weights.reshape((tokens * chosen, 1))
    }

    /// For each expert the tokens of `scores`, `[tokens, experts]`, that go to it.
    fn shares(&self, scores: &Tensor) -> Result<Vec<Share>, Error> {
        let mut place = 0;
        let mut shares = vec![Share::default(); self.experts.len()];
        for (token, scores) in (0..).zip(scores.to_vec2::<f32>()?) {
            for (expert, weight) in self.routing.choose(&scores, &self.correction) {
                shares[expert].tokens.push(token);
                shares[expert].weights.push(weight);
                shares[expert].places.push(place);
                place += 1;
            }
        }
        Ok(shares)
    }
}
