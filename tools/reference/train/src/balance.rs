//! Equal work for all experts, without a loss for it (Wang et al. 2024, "Auxiliary-Loss-Free Load Balancing", as in
//! DeepSeek-V3): a correction that joins the choice of experts moves towards those that are given little.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, Var};
use engram_model::LayerHook;

/// A hook around another that counts the tokens of each expert.
pub(crate) struct Counted<H> {
    pub(crate) hook: H,
    /// By layer.
    pub(crate) loads: BTreeMap<usize, Vec<usize>>,
}

impl<H: LayerHook> LayerHook for Counted<H> {
    fn begin(
        &mut self,
        before: &[usize],
        tokens: &[&[u32]],
    ) -> std::result::Result<(), engram_model::Error> {
        self.loads.clear();
        self.hook.begin(before, tokens)
    }

    fn add(
        &mut self,
        layer: usize,
        stream: &Tensor,
    ) -> std::result::Result<Option<Tensor>, engram_model::Error> {
        self.hook.add(layer, stream)
    }

    fn routed(&mut self, layer: usize, tokens: &[usize]) {
        self.loads.insert(layer, tokens.to_vec());
        self.hook.routed(layer, tokens);
    }

    fn end(&mut self, stream: &Tensor) {
        self.hook.end(stream);
    }

    fn announce(&mut self, tokens: &[&[u32]]) -> std::result::Result<(), engram_model::Error> {
        self.hook.announce(tokens)
    }
}

impl<H> Counted<H> {
    pub(crate) fn new(hook: H) -> Self {
        Self {
            hook,
            loads: BTreeMap::new(),
        }
    }
}

/// Name of the correction of a layer's experts.
pub(crate) fn correction(layer: usize) -> String {
    format!("model.layers.{layer}.mlp.gate.e_score_correction_bias")
}

/// Moves the correction of each expert by `speed` towards equal loads.
#[expect(clippy::cast_precision_loss, reason = "few tokens")]
pub(crate) fn balance(correction: &Var, loads: &[usize], speed: f64) -> Result<()> {
    let mean = mean(loads);
    let moves = loads.iter().map(|&load| match load as f64 - mean {
        0.0 => 0.0,
        more => -more.signum(),
    });
    #[expect(clippy::cast_possible_truncation, reason = "corrections are f32")]
    let moves = moves.map(|of| (speed * of) as f32).collect();
    let moves = Tensor::from_vec(moves, loads.len(), correction.device())?;
    correction.set(&(correction.as_tensor() + moves)?)
}

/// The largest load of an expert over the mean of its layer, of all layers.
#[expect(clippy::cast_precision_loss, reason = "few tokens")]
pub(crate) fn imbalance<'a>(loads: impl Iterator<Item = &'a Vec<usize>>) -> f64 {
    let relative = |loads: &Vec<usize>| {
        loads
            .iter()
            .max()
            .map_or(1.0, |&most| most as f64 / mean(loads))
    };
    loads.map(relative).fold(1.0, f64::max)
}

#[expect(clippy::cast_precision_loss, reason = "few tokens")]
fn mean(loads: &[usize]) -> f64 {
    loads.iter().sum::<usize>() as f64 / loads.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn corrections_move_towards_equal_loads() {
        let correction = Var::new(&[0.0_f32, 0.5, 0.0], &Device::Cpu).unwrap();
        let loads = vec![9, 1, 5];
        balance(&correction, &loads, 0.25).unwrap();
        assert_eq!(correction.to_vec1::<f32>().unwrap(), [-0.25, 0.75, 0.0]);
        assert_eq!(imbalance([&loads, &vec![1, 1, 1]].into_iter()), 1.8);
    }
}
