//! Multi-head latent attention: the keys and values of all heads are computed from one small latent for each token.

use candle_core::{D, Device, Tensor};
use candle_nn::{Linear, Module};

use crate::{
    Cache, Config, Error,
    cache::Latents,
    grad::{Norm, attend},
    rope::{Rotary, Rotation},
    weights::Scope,
};

/// Epsilon of the norms of latents. Neither DeepSeek's code nor transformers takes the configuration's here.
const LATENT_EPS: f64 = 1e-6;

/// What all layers share in a pass.
#[derive(Debug)]
pub(crate) struct Context {
    rotation: Rotation,
    /// `[sequences, 1, tokens, slots]`: zero where a token may look, negative infinity elsewhere; `None` if every
    /// token may look everywhere.
    mask: Option<Tensor>,
}

impl Context {
    /// The context of a pass with `tokens` new tokens for each sequence, which follow those of `cache`.
    pub(crate) fn new(
        rotary: &Rotary,
        cache: &Cache,
        tokens: &[usize],
        device: &Device,
    ) -> candle_core::Result<Self> {
        let most = tokens.iter().max().copied().unwrap_or(0);
        let positions: Vec<Vec<usize>> = cache
            .lens()
            .into_iter()
            .map(|len| (len..len + most).collect())
            .collect();
        Ok(Self {
            rotation: rotary.rotation(&positions, device)?,
            mask: mask(&positions, tokens, &cache.positions_with(tokens), device)?,
        })
    }
}

/// A token sees the slots of its sequence with positions up to its own. Padding sees everything: a softmax over
/// nothing would not be a number.
fn mask(
    positions: &[Vec<usize>],
    tokens: &[usize],
    slots: &[Vec<Option<usize>>],
    device: &Device,
) -> candle_core::Result<Option<Tensor>> {
    let mut mask = Vec::new();
    for ((positions, &tokens), slots) in positions.iter().zip(tokens).zip(slots) {
        for (index, &position) in positions.iter().enumerate() {
            let sees = |slot: &Option<usize>| slot.is_some_and(|slot| slot <= position);
            mask.extend(slots.iter().map(|slot| {
                if index >= tokens || sees(slot) {
                    0.0
                } else {
                    f32::NEG_INFINITY
                }
            }));
        }
    }
    if mask.iter().all(|&value| value == 0.0) {
        return Ok(None);
    }
    let most = positions.first().map_or(0, Vec::len);
    let shape = (positions.len(), 1, most, slots.first().map_or(0, Vec::len));
    Tensor::from_vec(mask, shape, device).map(Some)
}

#[derive(Debug, Clone)]
pub(crate) struct Attention {
    layer: usize,
    query: Query,
    /// Projects to the latent and to the rotated part of keys.
    compress: Linear,
    latent_norm: Norm,
    /// Projects the latent to keys and values.
    expand: Linear,
    out: Linear,
    heads: usize,
    latent: usize,
    plain: usize,
    rotated: usize,
    value: usize,
    scale: f64,
}

#[derive(Debug, Clone)]
enum Query {
    Whole(Linear),
    LowRank {
        down: Linear,
        norm: Norm,
        up: Linear,
    },
}

impl Query {
    fn load(weights: &mut Scope<'_>, config: &Config) -> Result<Self, Error> {
        let out = config.heads * (config.plain_dim + config.rotated_dim);
        let Some(rank) = config.query_rank else {
            let whole = weights.linear("q_proj", config.hidden_size, out, false)?;
            return Ok(Self::Whole(whole));
        };
        Ok(Self::LowRank {
            down: weights.linear("q_a_proj", config.hidden_size, rank, config.attention_bias)?,
            norm: weights.norm("q_a_layernorm", rank, LATENT_EPS)?,
            up: weights.linear("q_b_proj", rank, out, false)?,
        })
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Whole(linear) => linear.forward(x),
            Self::LowRank { down, norm, up } => up.forward(&norm.forward(&down.forward(x)?)?),
        }
    }
}

impl Attention {
    /// The attention of the layer at index `layer`.
    pub(crate) fn load(
        mut weights: Scope<'_>,
        config: &Config,
        layer: usize,
    ) -> Result<Self, Error> {
        let (hidden, bias) = (config.hidden_size, config.attention_bias);
        let (latent, heads, value) = (config.latent_rank, config.heads, config.value_dim);
        let (plain, rotated) = (config.plain_dim, config.rotated_dim);
        Ok(Self {
            layer,
            query: Query::load(&mut weights, config)?,
            compress: weights.linear("kv_a_proj_with_mqa", hidden, latent + rotated, bias)?,
            latent_norm: weights.norm("kv_a_layernorm", latent, LATENT_EPS)?,
            expand: weights.linear("kv_b_proj", latent, heads * (plain + value), false)?,
            out: weights.linear("o_proj", heads * value, hidden, bias)?,
            heads,
            latent,
            plain,
            rotated,
            value,
            scale: config.attention_scale(),
        })
    }

    /// What attention adds to each of the tokens in `x`, `[batch, tokens, hidden]`, which follow those of `cache`
    /// and are appended to it.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        context: &Context,
        cache: &mut Cache,
    ) -> candle_core::Result<Tensor> {
        let (batch, tokens, _) = x.dims3()?;
        let queries = self.queries(x, &context.rotation)?;
        let kept = cache.append(self.layer, self.latents(x, &context.rotation)?)?;
        let (keys, values) = self.keys_and_values(kept)?;
        let mask = context.mask.as_ref();
        let found = attend(&queries, &keys, &values, self.scale, mask)?;
        let found = found
            .transpose(1, 2)?
            .reshape((batch, tokens, self.heads * self.value))?;
        self.out.forward(&found)
    }

    /// `[batch, heads, tokens, plain + rotated]`.
    fn queries(&self, x: &Tensor, rotation: &Rotation) -> candle_core::Result<Tensor> {
        let (batch, tokens, _) = x.dims3()?;
        let shape = (batch, tokens, self.heads, self.plain + self.rotated);
        let queries = self.query.forward(x)?.reshape(shape)?.transpose(1, 2)?;
        let plain = queries.narrow(D::Minus1, 0, self.plain)?;
        let rotated = rotation.apply(&queries.narrow(D::Minus1, self.plain, self.rotated)?)?;
        Tensor::cat(&[plain, rotated], D::Minus1)?.contiguous()
    }

    fn latents(&self, x: &Tensor, rotation: &Rotation) -> candle_core::Result<Latents> {
        let compressed = self.compress.forward(x)?;
        let latent = compressed.narrow(D::Minus1, 0, self.latent)?.contiguous()?;
        let rotated = compressed.narrow(D::Minus1, self.latent, self.rotated)?;
        Ok(Latents {
            latent: self.latent_norm.forward(&latent)?,
            rotated: rotation.apply(&rotated.unsqueeze(1)?)?.squeeze(1)?,
        })
    }

    /// `[batch, heads, tokens, plain + rotated]` and `[batch, heads, tokens, value]`.
    fn keys_and_values(&self, kept: &Latents) -> candle_core::Result<(Tensor, Tensor)> {
        let (batch, tokens, _) = kept.latent.dims3()?;
        let shape = (batch, tokens, self.heads, self.plain + self.value);
        let both = self
            .expand
            .forward(&kept.latent)?
            .reshape(shape)?
            .transpose(1, 2)?;
        let plain = both.narrow(D::Minus1, 0, self.plain)?;
        let rotated = (batch, self.heads, tokens, self.rotated);
        let rotated = kept.rotated.unsqueeze(1)?.broadcast_as(rotated)?;
        let values = both
            .narrow(D::Minus1, self.plain, self.value)?
            .contiguous()?;
        let keys = Tensor::cat(&[plain, rotated], D::Minus1)?.contiguous()?;
        Ok((keys, values))
    }
}
