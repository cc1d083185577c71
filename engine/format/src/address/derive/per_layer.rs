//! Per-layer embeddings: no hash, the row of a token is its id.

use super::common::validated;
use crate::{
    address::scheme::{HashRule, LayerScheme, Scheme},
    error::SchemeError,
    ids::LayerId,
};

/// The per-layer embeddings of Gemma 3n and Gemma 4: one wide row a token, with the values of all layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerLayerParameters {
    /// Name of the scheme.
    pub name: String,
    /// Tokens that have a row. What stands for images and sound has larger ids, and is a dead position here.
    pub vocab_size: u32,
    /// The token whose row those get, as all dead positions do.
    pub pad: u32,
}

impl PerLayerParameters {
    /// The scheme with one column, whose row ids are token ids. The model reads its rows before the first layer, so
    /// the table's layer is 0.
    ///
    /// # Errors
    /// A vocabulary of no tokens, or a pad token outside of it.
    pub fn scheme(&self) -> Result<Scheme, SchemeError> {
        let rows = u64::from(self.vocab_size);
        validated(Scheme {
            name: self.name.clone(),
            compressed: false,
            hashed_vocab_size: self.vocab_size,
            fill: self.pad,
            boundary: None,
            max_order: 1,
            heads: 1,
            layers: vec![LayerScheme {
                id: LayerId(0),
                // Times one, modulo the vocabulary.
                hash: HashRule::XorMultiply {
                    multipliers: vec![1],
                },
                buckets: vec![rows],
                row_count: rows,
            }],
        })
    }
}
