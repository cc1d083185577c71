//! The same number of parameters, in experts or in rows.

use crate::{Error, Recipe, recipe::KERNEL};

impl Recipe {
    /// The same model with `share` of its idle experts, those that a token is not given to, and Engram rows in place of
    /// the others. The number of parameters and of experts for a token stays the same. A share of one leaves no Engram.
    ///
    /// The weights of the blocks around the rows count as well; a token computes with those in addition.
    ///
    /// # Errors
    /// A share that is not from 0 to 1, a recipe without Engram, or experts too small to make blocks of.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "few experts"
    )]
    pub fn allocated(&self, share: f64) -> Result<Self, Error> {
        let fault = |field, found: String, expected: &str| Error::Recipe {
            field,
            found,
            expected: expected.into(),
        };
        if !(0.0..=1.0).contains(&share) {
            return Err(fault("the share of experts", share.to_string(), "0 to 1"));
        }
        let idle = self.experts.saturating_sub(self.chosen);
        let left = (share * idle as f64).round() as usize;
        let mut recipe = self.clone();
        recipe.experts = self.experts - (idle - left);
        if left == idle {
            recipe.engram = None;
            return Ok(recipe);
        }
        let Some(engram) = &mut recipe.engram else {
            return Err(fault("engram", "none".into(), "blocks to give experts to"));
        };
        let hidden = self.hidden as u64;
        // Three matrices, a row of the router and a correction.
        let expert = 3 * hidden * self.inner as u64 + hidden + 1;
        let freed = (idle - left) as u64 * self.layers as u64 * expert;
        let read = engram.columns() * u64::from(engram.width);
        // Two projections with biases, three norms, the convolution.
        let block = 2 * hidden * (read + 1) + 3 * hidden + hidden * u64::from(KERNEL);
        let blocks = block * engram.layers.len() as u64;
        engram.rows = freed.saturating_sub(blocks) / u64::from(engram.width);
        if engram.rows < read * engram.layers.len() as u64 {
            let found = format!("{freed} numbers");
            let expected = format!("more than the {blocks} of the blocks");
            return Err(fault("what experts leave for rows", found, &expected));
        }
        Ok(recipe)
    }
}
