//! Engram's own derivation.

use super::common::{LAYER_SEED_STEP, half_range, validated};
use crate::{
    address::{
        pcg64::Pcg64,
        primes::PrimePool,
        scheme::{BUCKET_LIMIT, HashRule, LayerScheme, Scheme, check_dimensions, check_range},
    },
    error::SchemeError,
    ids::LayerId,
};

/// Engram as its authors define it: the demo of January 2026 and DeepSeek-V4.1-Flash.
///
/// Multipliers come from `NumPy`'s PCG64 seeded with `seed + 10007 * layer`; bucket counts are
/// distinct primes over the whole model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngramParameters {
    /// Name of the scheme.
    pub name: String,
    /// 0-based ids of the layers with a table.
    pub layers: Vec<u32>,
    /// Heads of each order.
    pub heads: u32,
    /// Where the search for primes starts, for orders 2, 3, ...
    pub bucket_starts: Vec<u64>,
    /// Size of the compressed vocabulary.
    pub compressed_vocab_size: u32,
    /// Compressed id of the pad token.
    pub pad: u32,
    /// Base seed.
    pub seed: u64,
}

impl EngramParameters {
    /// The largest n-gram order.
    pub fn max_order(&self) -> u32 {
        u32::try_from(self.bucket_starts.len() + 1).unwrap_or(u32::MAX)
    }

    /// Derives all constants.
    ///
    /// # Errors
    /// Parameters from which no valid scheme follows.
    pub fn scheme(&self) -> Result<Scheme, SchemeError> {
        let max_order = self.max_order();
        check_dimensions(max_order, self.heads, self.layers.len())?;
        for &start in &self.bucket_starts {
            check_range("bucket start", start, 1..=BUCKET_LIMIT / 2)?;
        }
        let half = half_range(self.compressed_vocab_size)?;
        // Below that, NumPy draws from 32-bit halves, which no model needs.
        check_range("range of the multipliers", half, (1 << 32) + 1..=u64::MAX)?;

        let mut pool = PrimePool::default();
        let layers = self.layers.iter().map(|&layer| {
            let seed = LAYER_SEED_STEP
                .wrapping_mul(layer.into())
                .wrapping_add(self.seed);
            let mut rng = Pcg64::new(seed);
            let multipliers = (0..max_order).map(|_| 2 * rng.below(half) + 1).collect();
            let starts = self.bucket_starts.iter();
            let buckets: Vec<u64> = starts
                .flat_map(|&start| pool.take(start, self.heads as usize))
                .collect();
            LayerScheme {
                id: LayerId(layer),
                hash: HashRule::XorMultiply { multipliers },
                row_count: buckets.iter().sum(),
                buckets,
            }
        });
        validated(Scheme {
            name: self.name.clone(),
            compressed: true,
            hashed_vocab_size: self.compressed_vocab_size,
            fill: self.pad,
            boundary: None,
            max_order,
            heads: self.heads,
            layers: layers.collect(),
        })
    }
}
