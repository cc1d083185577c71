//! The choice of the next token.

use crate::Error;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// The likeliest token; of equally likely ones, that with the lowest id.
    Greedy,
    /// A token drawn at random, by its probability.
    Random {
        /// Logits are divided by this; above zero.
        temperature: f64,
        /// Draw from this many of the likeliest tokens only; zero for all.
        top_k: usize,
        /// Draw only from the likeliest tokens that have this probability together, 0 to 1.
        top_p: f64,
        /// The same seed, logits and index of the sequence give the same choices.
        seed: u64,
    },
}

impl Sampling {
    /// Checks the parameters.
    ///
    /// # Errors
    /// A `temperature` that is not above zero, a `top_p` that is not from 0 to 1.
    pub fn check(&self) -> Result<(), Error> {
        let Self::Random {
            temperature, top_p, ..
        } = *self
        else {
            return Ok(());
        };
        let fault = |field, found, expected| {
            Err(Error::Sampling {
                field,
                found,
                expected,
            })
        };
        if !(temperature > 0.0 && temperature.is_finite()) {
            return fault("temperature", temperature, "a number above 0");
        }
        if !(0.0..=1.0).contains(&top_p) {
            return fault("top_p", top_p, "0 to 1");
        }
        Ok(())
    }
}

/// The choices of one sequence.
#[derive(Debug)]
pub(crate) struct Sampler {
    sampling: Sampling,
    random: StdRng,
}

impl Sampler {
    /// For the sequence at index `sequence`.
    pub(crate) fn new(sampling: Sampling, sequence: usize) -> Self {
        let seed = match sampling {
            Sampling::Greedy => 0,
            Sampling::Random { seed, .. } => seed,
        };
        let mut random = StdRng::seed_from_u64(seed);
        // Sequences must not make the same choices.
        for _ in 0..sequence {
            random = StdRng::from_rng(&mut random);
        }
        Self { sampling, random }
    }

    /// The index of one of `logits`, of which there is one at least.
    pub(crate) fn choose(&mut self, logits: &[f32]) -> usize {
        let Sampling::Random {
            temperature,
            top_k,
            top_p,
            ..
        } = self.sampling
        else {
            return likeliest(logits);
        };
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        if top_k > 0 {
            order.truncate(top_k);
        }
        let most = f64::from(logits[order[0]]);
        let mut sum = 0.0;
        let sums: Vec<f64> = order
            .iter()
            .map(|&index| {
                sum += ((f64::from(logits[index]) - most) / temperature).exp();
                sum
            })
            .collect();
        let kept = sums.partition_point(|&of_likelier| of_likelier < top_p * sum) + 1;
        let kept = &sums[..kept.min(sums.len())];
        let drawn = self.random.random::<f64>() * kept[kept.len() - 1];
        let place = kept.partition_point(|&sum| sum <= drawn);
        order[place.min(kept.len() - 1)]
    }
}

fn likeliest(logits: &[f32]) -> usize {
    let better = |best: usize, (index, logit): (usize, &f32)| {
        if logit.total_cmp(&logits[best]).is_gt() {
            index
        } else {
            best
        }
    };
    logits.iter().enumerate().fold(0, better)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 5] = [0.0, 2.0, 1.0, 2.0, -1.0];

    fn random(temperature: f64, top_k: usize, top_p: f64) -> Sampling {
        Sampling::Random {
            temperature,
            top_k,
            top_p,
            seed: 5,
        }
    }

    /// How often each token is drawn.
    fn shares(sampling: Sampling) -> [f64; 5] {
        let mut sampler = Sampler::new(sampling, 0);
        let mut counts = [0; 5];
        for _ in 0..20_000 {
            counts[sampler.choose(&LOGITS)] += 1;
        }
        counts.map(|count: u32| f64::from(count) / 20_000.0)
    }

    #[test]
    fn the_likeliest_with_the_lowest_id() {
        assert_eq!(Sampler::new(Sampling::Greedy, 0).choose(&LOGITS), 1);
        assert_eq!(Sampler::new(Sampling::Greedy, 0).choose(&[-1.0]), 0);
    }

    #[test]
    fn tokens_are_drawn_by_their_probability() {
        for temperature in [0.5, 1.0, 2.0] {
            let weights = LOGITS.map(|logit| (f64::from(logit) / temperature).exp());
            let sum: f64 = weights.iter().sum();
            for (share, weight) in shares(random(temperature, 0, 1.0)).iter().zip(weights) {
                assert!((share - weight / sum).abs() < 0.015, "{share} {weight}");
            }
        }
    }

    #[test]
    fn limits_leave_the_likeliest() {
        let drawn = |top_k, top_p| shares(random(1.0, top_k, top_p)).map(|share| share > 0.0);
        let two = [false, true, false, true, false];
        assert_eq!(drawn(2, 1.0), two);
        // The two likeliest have 0.78 together.
        assert_eq!(drawn(0, 0.7), two);
        assert_eq!(drawn(0, 0.8), [false, true, true, true, false]);
        assert_eq!(shares(random(1.0, 0, 0.0))[1], 1.0);
    }

    #[test]
    fn a_seed_repeats_its_choices_and_sequences_have_their_own() {
        let draw = |sequence| {
            let mut sampler = Sampler::new(random(1.0, 0, 1.0), sequence);
            std::array::from_fn::<_, 32, _>(|_| sampler.choose(&LOGITS))
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(0), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
