//! `YaRN`: slow pairs are slowed down further, so that a longer text makes no angle the model has not seen.

use std::f64::consts::TAU;

/// The scaling of a longer context.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Yarn {
    /// How many times longer the context became.
    pub(crate) factor: f64,
    /// Tokens of the original context.
    pub(crate) original_len: f64,
    /// Pairs that make more turns than this in the original context are left alone.
    pub(crate) beta_fast: f64,
    /// Pairs that make fewer turns than this are slowed down by all of `factor`.
    pub(crate) beta_slow: f64,
    /// Whether the bounds between pairs are whole numbers.
    pub(crate) truncate: bool,
    pub(crate) attention_factor: Option<f64>,
    pub(crate) mscale: Option<f64>,
    pub(crate) mscale_all_dim: Option<f64>,
}

impl Yarn {
    /// The `plain` frequencies of pairs, with the base `theta`, slowed down.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "dimensions of heads are small"
    )]
    pub(crate) fn frequencies(&self, plain: &[f32], theta: f64) -> Vec<f32> {
        let dim = (2 * plain.len()) as f64;
        // The index of the pair that makes this many turns.
        let bound =
            |turns: f64| dim * (self.original_len / (turns * TAU)).ln() / (2.0 * theta.ln());
        let (mut low, mut high) = (bound(self.beta_fast), bound(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(dim - 1.0));
        if low == high {
            high += 0.001;
        }
        let slowed = |(pair, &plain): (usize, &f32)| {
            let part = ((pair as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
            plain / self.factor as f32 * part + plain * (1.0 - part)
        };
        plain.iter().enumerate().map(slowed).collect()
    }

    /// The factor that rotated queries and keys are scaled by.
    pub(crate) fn rotation_scale(&self) -> f64 {
        let part = |mscale: f64| magnitude(self.factor, mscale);
        match (self.attention_factor, self.mscale, self.mscale_all_dim) {
            (Some(factor), _, _) => factor,
            (None, Some(mscale), Some(all)) if mscale != 0.0 && all != 0.0 => {
                part(mscale) / part(all)
            }
            _ => part(1.0),
        }
    }

    /// A further factor that attention scores are scaled by.
    pub(crate) fn score_scale(&self) -> f64 {
        magnitude(self.factor, self.mscale_all_dim.unwrap_or(0.0)).powi(2)
    }
}

fn magnitude(factor: f64, mscale: f64) -> f64 {
    0.1 * mscale * factor.ln() + 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings of DeepSeek-V3; the golden values come from `transformers`.
    #[test]
    fn deepseek_v3() {
        let yarn = Yarn {
            factor: 40.0,
            original_len: 4096.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate: true,
            attention_factor: None,
            mscale: Some(1.0),
            mscale_all_dim: Some(1.0),
        };
        assert_eq!(yarn.rotation_scale(), 1.0);
        assert!((yarn.score_scale() - 1.873_854_207_092_626_5).abs() < 1e-12);
        let frequencies = yarn.frequencies(&super::super::frequencies(1e4, 64), 1e4);
        let golden = [
            (0, 1.0),
            (10, 0.056_234_13),
            (11, 0.039_006_926),
            (15, 0.008_334_509),
            (22, 0.000_177_827_94),
            (23, 0.000_033_338_034),
            (31, 0.000_003_333_803_5),
        ];
        for (pair, golden) in golden {
            let found = frequencies[pair];
            assert!(
                (found / golden - 1.0).abs() < 1e-6,
                "pair {pair}: {found}, not {golden}"
            );
        }
    }
}
