//! The derivation of LongCat's n-gram embedding.

use super::common::validated;
use crate::{
    address::scheme::{
        BUCKET_LIMIT, Boundary, BoundaryRule, HashRule, LayerScheme, Scheme, check_dimensions,
        check_range,
    },
    error::SchemeError,
    ids::LayerId,
};

/// The n-gram input embedding of LongCat-Flash-Lite and LongCat-2.0: polynomial hashes modulo consecutive odd sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongCatParameters {
    /// Name of the scheme.
    pub name: String,
    /// Largest n-gram order (`emb_neighbor_num`).
    pub max_order: u32,
    /// Hashes of each order (`emb_split_num`).
    pub heads: u32,
    /// The bucket counts are this plus 1, 3, 5, ...
    pub bucket_base: u64,
    /// Raw vocabulary size.
    pub vocab_size: u32,
    /// Tokens that have no n-grams and end the history, as `SGLang` and `vLLM` treat them. Nothing is left to hash at
    /// such a token, so it has the first row of every column, which some models add to it, and others mask.
    pub ignored: Vec<u32>,
}

impl LongCatParameters {
    /// Derives all constants. The table replaces the input embedding, so its layer is 0.
    ///
    /// # Errors
    /// Parameters from which no valid scheme follows.
    pub fn scheme(&self) -> Result<Scheme, SchemeError> {
        check_dimensions(self.max_order, self.heads, 1)?;
        check_range("bucket base", self.bucket_base, 1..=BUCKET_LIMIT / 2)?;
        let columns = u64::from(self.max_order - 1) * u64::from(self.heads);
        let buckets: Vec<u64> = (0..columns).map(|i| self.bucket_base + 2 * i + 1).collect();
        validated(Scheme {
            name: self.name.clone(),
            compressed: false,
            hashed_vocab_size: self.vocab_size,
            // Token 0 adds nothing to the sum.
            fill: 0,
            boundary: Some(Boundary {
                tokens: self.ignored.clone(),
                rule: BoundaryRule::Dead,
            }),
            max_order: self.max_order,
            heads: self.heads,
            layers: vec![LayerScheme {
                id: LayerId(0),
                hash: HashRule::Polynomial {
                    base: self.vocab_size.into(),
                },
                row_count: buckets.iter().sum(),
                buckets,
            }],
        })
    }
}
