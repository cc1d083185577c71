//! Initial weights.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor, Var};

/// Deviation of the embedding, small enough for the layers to matter from the beginning.
const EMBEDDING: f64 = 0.1;
/// Deviation of the output head, small enough for all tokens to begin about equally likely.
const HEAD: f64 = 0.1;

/// Variables on `device`, of the tensors of a model that has learned nothing.
///
/// Projections into the residual stream are made smaller the more layers there are, so that it keeps its size.
#[expect(clippy::cast_precision_loss, reason = "few layers")]
pub(crate) fn variables(
    fresh: BTreeMap<String, Tensor>,
    layers: usize,
    device: &Device,
) -> Result<BTreeMap<String, Var>> {
    let into_stream = 1.0 / ((2 * layers) as f64).sqrt();
    let variables = fresh.into_iter().map(|(name, tensor)| {
        let scale = match name.as_str() {
            "model.embed_tokens.weight" => EMBEDDING,
            "lm_head.weight" => HEAD,
            name if name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight") => {
                into_stream
            }
            _ => 1.0,
        };
        let tensor = (tensor * scale)?.to_device(device)?;
        Ok((name, Var::from_tensor(&tensor)?))
    });
    variables.collect()
}
