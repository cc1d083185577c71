//! How often the n-grams of a text occur (PROFILE.md).
//!
//! A profile knows ids as they are hashed and nothing of tables: one serves every layer and every pack with
//! the same [`WindowRules`].

mod bytes;
mod count;

use std::iter;

use serde::Serialize;

use crate::{address::Hasher, digest::Digest, error::FormatError, manifest::canonical};
pub use bytes::MAX_PROFILE_BYTES;
pub use count::ProfileCounter;

/// Most n-grams of one order that a profile may hold.
pub const MAX_PROFILE_NGRAMS: usize = 1 << 24;

/// What windows, and so n-grams, follow from: a scheme without its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WindowRules {
    /// The largest n-gram order N.
    pub max_order: u32,
    /// Hashed ids are below this.
    pub hashed_vocab_size: u32,
    /// The hashed id that stands for missing history.
    pub fill: u32,
    /// Digest of the scheme's boundary, or of there being none.
    pub boundary: Digest,
    /// Digest of the token map, where ids pass through one.
    pub token_map: Option<Digest>,
}

/// Counts of the most frequent n-grams of each order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    rules: WindowRules,
    tokens: u64,
    /// Orders 2 to N.
    orders: Vec<OrderCounts>,
}

/// The most frequent n-grams of one order: by falling count, then by rising ids, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderCounts {
    order: usize,
    distinct: u64,
    /// Those of each n-gram, newest first.
    ids: Vec<u32>,
    counts: Vec<u64>,
}

impl WindowRules {
    /// Those of `hasher`.
    #[expect(clippy::missing_panics_doc, reason = "a boundary is plain data")]
    pub fn of(hasher: &Hasher) -> Self {
        let scheme = hasher.scheme();
        let boundary = serde_json::to_value(&scheme.boundary).expect("plain data serializes");
        let token_map = hasher.token_map();
        Self {
            max_order: scheme.max_order,
            hashed_vocab_size: scheme.hashed_vocab_size,
            fill: scheme.fill,
            boundary: Digest::of(canonical(&boundary).as_bytes()),
            token_map: token_map.map(|map| Digest::of(&map.to_bytes())),
        }
    }

    /// Checks that they are the `expected` ones of a pack.
    ///
    /// # Errors
    /// The first field that differs.
    pub fn check(&self, expected: &Self) -> Result<(), FormatError> {
        let fields = |rules: &Self| {
            let token_map = rules.token_map.map(|digest| digest.to_string());
            [
                ("max order", rules.max_order.to_string()),
                ("hashed vocabulary", rules.hashed_vocab_size.to_string()),
                ("fill", rules.fill.to_string()),
                ("digest of the boundary", rules.boundary.to_string()),
                (
                    "digest of the token map",
                    token_map.unwrap_or_else(|| "none".into()),
                ),
            ]
        };
        for ((field, found), (_, expected)) in fields(self).into_iter().zip(fields(expected)) {
            if found != expected {
                return Err(FormatError::OtherProfile {
                    field,
                    found,
                    expected,
                });
            }
        }
        Ok(())
    }
}

impl Profile {
    /// What its n-grams follow from.
    pub fn rules(&self) -> &WindowRules {
        &self.rules
    }

    /// Tokens counted: each ends one n-gram of every order.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// One for each order from 2 on.
    pub fn orders(&self) -> &[OrderCounts] {
        &self.orders
    }

    /// The n-grams of `order`, none where the profile has no such order.
    pub fn order(&self, order: u32) -> Option<&OrderCounts> {
        let place = usize::try_from(order).ok()?.checked_sub(2)?;
        self.orders.get(place)
    }

    /// The n-grams of all orders with their counts, most frequent first; of equal ones the short first.
    pub fn by_count(&self) -> impl Iterator<Item = (&[u32], u64)> {
        let mut heads: Vec<_> = (self.orders.iter())
            .map(|counts| counts.iter().peekable())
            .collect();
        iter::from_fn(move || {
            let mut best = None;
            for (place, head) in heads.iter_mut().enumerate() {
                let Some(&(_, count)) = head.peek() else {
                    continue;
                };
                if best.is_none_or(|(_, most)| count > most) {
                    best = Some((place, count));
                }
            }
            heads[best?.0].next()
        })
    }
}

impl OrderCounts {
    /// Ids of each n-gram.
    pub fn order(&self) -> usize {
        self.order
    }

    /// Different n-grams of the text, those that were left out too.
    pub fn distinct(&self) -> u64 {
        self.distinct
    }

    /// N-grams in the profile.
    pub fn kept(&self) -> usize {
        self.counts.len()
    }

    /// Sum of their counts: at most the profile's tokens.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Hashed ids, newest first, and count of each.
    pub fn iter(&self) -> impl Iterator<Item = (&[u32], u64)> {
        let ngrams = self.ids.chunks_exact(self.order);
        ngrams.zip(self.counts.iter().copied())
    }
}

#[cfg(test)]
mod tests;
