//! The derivation of Qwen's n-gram embedding.

use super::common::{LAYER_SEED_STEP, half_range, validated};
use crate::{
    address::{
        primes::PrimePool,
        scheme::{
            BUCKET_LIMIT, Boundary, BoundaryRule, HashRule, LayerScheme, Scheme, check_dimensions,
            check_range,
        },
        splitmix64,
    },
    error::SchemeError,
    ids::LayerId,
};

/// The n-gram embedding of Qwen3.8-Flash-Next (`qwen4_exp`): raw ids, splitmix64, one bucket start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QwenParameters {
    /// Name of the scheme.
    pub name: String,
    /// 0-based ids of the layers with a table.
    pub layers: Vec<u32>,
    /// Largest n-gram order.
    pub max_order: u32,
    /// Heads of each order.
    pub heads: u32,
    /// Where the search for primes starts.
    pub bucket_start: u64,
    /// Row counts are rounded up to a multiple of this.
    pub row_multiple: u64,
    /// Raw vocabulary size.
    pub vocab_size: u32,
    /// End-of-sequence token, which bounds and fills the history.
    pub eos: u32,
    /// Base seed.
    pub seed: u64,
}

impl QwenParameters {
    /// Derives all constants.
    ///
    /// # Errors
    /// Parameters from which no valid scheme follows.
    pub fn scheme(&self) -> Result<Scheme, SchemeError> {
        check_dimensions(self.max_order, self.heads, self.layers.len())?;
        check_range("bucket start", self.bucket_start, 1..=BUCKET_LIMIT / 2)?;
        check_range("row multiple", self.row_multiple, 1..=BUCKET_LIMIT)?;
        let half = half_range(self.vocab_size)?;
        let columns = (self.max_order as usize - 1) * self.heads as usize;

        let mut pool = PrimePool::default();
        let layers = (0_u64..).zip(&self.layers).map(|(index, &layer)| {
            let base = LAYER_SEED_STEP.wrapping_mul(index).wrapping_add(self.seed);
            // The model skips the first output.
            let draws = (1..).map(|index| splitmix64::output(base, index));
            let multipliers = draws.map(|draw| 2 * (draw % half) + 1);
            let buckets = pool.take(self.bucket_start, columns);
            LayerScheme {
                id: LayerId(layer),
                hash: HashRule::XorMultiply {
                    multipliers: multipliers.take(self.max_order as usize).collect(),
                },
                row_count: buckets
                    .iter()
                    .sum::<u64>()
                    .next_multiple_of(self.row_multiple),
                buckets,
            }
        });
        validated(Scheme {
            name: self.name.clone(),
            compressed: false,
            hashed_vocab_size: self.vocab_size,
            fill: self.eos,
            boundary: Some(Boundary {
                tokens: vec![self.eos],
                rule: BoundaryRule::EndsHistory,
            }),
            max_order: self.max_order,
            heads: self.heads,
            layers: layers.collect(),
        })
    }
}
