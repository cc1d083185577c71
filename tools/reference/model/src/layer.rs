//! A decoder layer: attention, then experts or a dense unit, each joined to the residual stream.

use candle_core::Tensor;

use crate::{
    Cache, Config, Error,
    attention::{Attention, Context},
    grad::Norm,
    hyper::Connection,
    mlp::Mlp,
    moe::Moe,
    weights::Scope,
};

#[derive(Debug, Clone)]
pub(crate) struct Layer {
    attention_connection: Connection,
    attention_norm: Norm,
    attention: Attention,
    feed_connection: Connection,
    feed_norm: Norm,
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
        let attention_connection = Connection::load(&mut weights, "attn_hc", config)?;
        let feed_connection = Connection::load(&mut weights, "ffn_hc", config)?;
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
            attention_connection,
            attention_norm,
            attention,
            feed_connection,
            feed_norm,
            feed,
        })
    }

    /// The residual stream after this layer, `[sequences, tokens, copies, hidden]` as before. `routed` is told how
    /// many tokens each expert was given, where there are experts.
    pub(crate) fn forward(
        &self,
        stream: &Tensor,
        context: &Context,
        cache: &mut Cache,
        routed: &mut dyn FnMut(&[usize]),
    ) -> Result<Tensor, Error> {
        let stream = self.attention_connection.around(stream, |hidden| {
            let normed = self.attention_norm.forward(hidden)?;
            Ok(self.attention.forward(&normed, context, cache)?)
        })?;
        self.feed_connection.around(&stream, |hidden| {
            let normed = self.feed_norm.forward(hidden)?;
            match &self.feed {
                Feed::Dense(mlp) => Ok(mlp.forward(&normed)?),
                Feed::Experts(moe) => moe.forward(&normed, routed),
            }
        })
    }
}
