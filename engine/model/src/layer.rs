//! A decoder layer: attention, then experts or a dense unit, each on top of the residual stream.

use candle_core::Tensor;
use candle_nn::{Module, RmsNorm};

use crate::{
    Cache, Config, Error,
    attention::{Attention, Context},
    mlp::Mlp,
    moe::Moe,
    weights::Scope,
};

#[derive(Debug, Clone)]
pub(crate) struct Layer {
    attention_norm: RmsNorm,
    attention: Attention,
    feed_norm: RmsNorm,
    feed: Feed,
}

#[derive(Debug, Clone)]
enum Feed {
    Dense(Mlp),
    Experts(Moe),
}

impl Layer {
    /// The layer at `index`.
    pub(crate) fn load(
        mut weights: Scope<'_>,
        config: &Config,
        index: usize,
    ) -> Result<Self, Error> {
        let hidden = config.hidden_size;
        let attention_norm = weights.norm("input_layernorm", hidden, config.norm_eps)?;
        let attention = Attention::load(weights.at("self_attn"), config, index)?;
        let feed_norm = weights.norm("post_attention_layernorm", hidden, config.norm_eps)?;
        let weights = weights.at("mlp");
        let feed = match &config.moe {
            Some(moe) if index >= moe.first_layer => {
                Feed::Experts(Moe::load(weights, hidden, moe)?)
            }
            _ => Feed::Dense(Mlp::load(weights, hidden, config.inner)?),
        };
        Ok(Self {
            attention_norm,
            attention,
            feed_norm,
            feed,
        })
    }

    /// The residual stream after this layer, `[batch, tokens, hidden]` as before.
    pub(crate) fn forward(
        &self,
        hidden: &Tensor,
        context: &Context,
        cache: &mut Cache,
    ) -> Result<Tensor, Error> {
        let normed = self.attention_norm.forward(hidden)?;
        let hidden = (hidden + self.attention.forward(&normed, context, cache)?)?;
        let normed = self.feed_norm.forward(&hidden)?;
        let fed = match &self.feed {
            Feed::Dense(mlp) => mlp.forward(&normed)?,
            Feed::Experts(moe) => moe.forward(&normed)?,
        };
        Ok((hidden + fed)?)
    }
}
