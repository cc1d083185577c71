//! The order in which tokens are learned from.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::Error;

/// Cuts tokens into windows, and goes through them in another order each time.
///
/// Which windows a step has follows from the seed and the step alone, so a training that goes on later has the same.
#[derive(Debug)]
pub(crate) struct Batches {
    /// Tokens of a window, without the one after it.
    window: usize,
    sequences: usize,
    seed: u64,
    /// The order of one pass through all windows, for the last one that was asked for.
    order: Option<(usize, Vec<usize>)>,
}

impl Batches {
    pub(crate) fn new(window: usize, sequences: usize, seed: u64) -> Self {
        Self {
            window,
            sequences,
            seed,
            order: None,
        }
    }

    /// The sequences of `step`: each has a window of `tokens` and the token after it.
    ///
    /// # Errors
    /// Fewer tokens than two windows.
    pub(crate) fn windows<'a>(
        &mut self,
        step: usize,
        tokens: &'a [u32],
    ) -> Result<Vec<&'a [u32]>, Error> {
        // Windows begin elsewhere in each pass, up to one window later.
        let windows = (tokens.len().saturating_sub(1) / self.window).saturating_sub(1);
        if windows == 0 {
            return Err(Error::TooLittle {
                what: "the text to learn from",
                found: format!("{} tokens", tokens.len()),
                expected: format!("{}", 2 * self.window + 1),
            });
        }
        let places = step * self.sequences..(step + 1) * self.sequences;
        Ok(places
            .map(|place| {
                let start = self.start(place / windows, place % windows, windows);
                &tokens[start..=start + self.window]
            })
            .collect())
    }

    /// Where the window at `place` of a pass begins.
    fn start(&mut self, pass: usize, place: usize, windows: usize) -> usize {
        let order = match &mut self.order {
            Some((of, order)) if *of == pass => order,
            other => {
                // No pass of one seed may be one of another.
                let mut random = StdRng::seed_from_u64(self.seed ^ (pass as u64).rotate_left(32));
                let offset = random.random_range(0..self.window);
                let mut order: Vec<usize> = (0..windows)
                    .map(|index| index * self.window + offset)
                    .collect();
                order.shuffle(&mut random);
                &mut other.insert((pass, order)).1
            }
        };
        order[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_pass_has_each_window_once_and_follows_from_the_step() {
        let tokens: Vec<u32> = (0..101).collect();
        let mut batches = Batches::new(10, 3, 7);
        let steps: Vec<Vec<Vec<u32>>> = (0..6)
            .map(|step| {
                let batch = batches.windows(step, &tokens).unwrap();
                batch.into_iter().map(<[u32]>::to_vec).collect()
            })
            .collect();
        let windows: Vec<&Vec<u32>> = steps.iter().flatten().collect();
        assert!(windows.iter().all(|window| window.len() == 11));
        for pass in windows.chunks(9) {
            let first: BTreeSet<u32> = pass.iter().map(|window| window[0]).collect();
            assert_eq!(first.len(), 9);
            let offset = first.first().unwrap() % 10;
            assert!(first.iter().all(|start| start % 10 == offset));
        }
        let again = Batches::new(10, 3, 7).windows(4, &tokens).unwrap().concat();
        assert_eq!(again, steps[4].concat());
        let other = Batches::new(10, 3, 8).windows(4, &tokens).unwrap().concat();
        assert_ne!(other, again);
        // Steps 3 to 5 are the second pass.
        let next_seed = (0..3).map(|step| {
            Batches::new(10, 3, 8)
                .windows(step, &tokens)
                .unwrap()
                .concat()
        });
        let second_pass = steps[3..].iter().map(|step| step.concat());
        assert!(next_seed.zip(second_pass).all(|(a, b)| a != b));
        let error = batches.windows(0, &tokens[..20]).unwrap_err().to_string();
        assert!(error.contains("20 tokens, expected 21"), "{error}");
    }
}
