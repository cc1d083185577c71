//! The learning rate over the steps.

use std::f64::consts::PI;

/// The last rate, as a share of the largest.
const LEAST: f64 = 0.1;

/// The share of the largest rate at `step` of `steps`: it rises over `warmup` steps, then falls along a cosine.
#[expect(clippy::cast_precision_loss, reason = "few steps")]
pub(crate) fn share(step: usize, warmup: usize, steps: usize) -> f64 {
    if step < warmup {
        return (step + 1) as f64 / warmup as f64;
    }
    let along = (step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
    LEAST + (1.0 - LEAST) * 0.5 * (1.0 + (PI * along.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_and_falls() {
        let shares: Vec<f64> = (0..=100).map(|step| share(step, 10, 100)).collect();
        assert_eq!(shares[0], 0.1);
        assert_eq!((shares[9], shares[10]), (1.0, 1.0));
        assert!((shares[100] - LEAST).abs() < 1e-12);
        assert!(shares[10..].windows(2).all(|pair| pair[0] >= pair[1]));
        assert!((shares[55] - 0.55).abs() < 1e-12);
    }
}
