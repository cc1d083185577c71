//! How often the n-grams of a text occur (PROFILE.md).
//!
//! A profile holds ids as they are hashed and knows nothing of tables, so one serves every layer and every pack with
//! the same [`WindowRules`].

mod bytes;
mod count;

use std::iter;

use serde::Serialize;

use crate::{
    address::{Hasher, first_order},
    digest::Digest,
    error::FormatError,
    manifest::canonical,
};
pub use bytes::MAX_PROFILE_BYTES;
pub use count::ProfileCounter;

/// The most n-grams of one order that a profile may hold.
pub const MAX_PROFILE_NGRAMS: usize = 1 << 24;

/// The part of a scheme that decides which n-grams a text has: everything but the tables.
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
    /// Orders 2 to N, or order 1 where N is 1.
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
    /// The rules of `hasher`'s scheme.
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

    /// The smallest order that has columns.
    fn first_order(&self) -> u32 {
        first_order(self.max_order)
    }

    /// Checks that a profile counted by these rules fits a pack with the `expected` ones.
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
    /// The rules by which its n-grams were counted.
    pub fn rules(&self) -> &WindowRules {
        &self.rules
    }

    /// Number of tokens counted. Each of them ends one n-gram of every order.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The counts of each order that has columns, from order 2 on; of order 1 where that is the largest.
    pub fn orders(&self) -> &[OrderCounts] {
        &self.orders
    }

    /// The counts of `order`, or `None` if the profile has no such order.
    pub fn order(&self, order: u32) -> Option<&OrderCounts> {
        let index = order.checked_sub(self.rules.first_order())?;
        self.orders.get(index as usize)
    }

    /// Tokens whose n-gram of each order that has columns is not in a cache of `rows` rows that begins with the most
    /// frequent n-grams: what is left to read of each column. An n-gram of order `n` takes `columns_of(n)` rows there.
    pub fn uncached(&self, rows: usize, columns_of: impl Fn(usize) -> usize) -> Vec<u64> {
        let mut uncached = vec![self.tokens; self.orders.len()];
        let first_order = self.rules.first_order() as usize;
        let mut left = rows;
        for (ngram, count) in self.by_count() {
            let order = ngram.len();
            match left.checked_sub(columns_of(order)) {
                None => break,
                Some(rest) if rest == left => {}
                Some(rest) => {
                    left = rest;
                    uncached[order - first_order] -= count;
                }
            }
        }
        uncached
    }

    /// The n-grams of all orders with their counts, most frequent first. Of equal counts, shorter n-grams come first.
    pub fn by_count(&self) -> impl Iterator<Item = (&[u32], u64)> {
        let mut orders: Vec<_> = (self.orders.iter())
            .map(|counts| counts.iter().peekable())
            .collect();
        iter::from_fn(move || {
            let mut best = None;
            for (index, ngrams) in orders.iter_mut().enumerate() {
                let Some(&(_, count)) = ngrams.peek() else {
                    continue;
                };
                if best.is_none_or(|(_, most)| count > most) {
                    best = Some((index, count));
                }
            }
            orders[best?.0].next()
        })
    }
}

impl OrderCounts {
    /// Number of ids in each n-gram.
    pub fn order(&self) -> usize {
        self.order
    }

    /// Number of different n-grams in the text, including those that the profile leaves out.
    pub fn distinct(&self) -> u64 {
        self.distinct
    }

    /// Number of n-grams that the profile holds.
    pub fn kept(&self) -> usize {
        self.counts.len()
    }

    /// Sum of the counts of those n-grams, at most [`Profile::tokens`].
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Each n-gram, as hashed ids with the newest first, and its count.
    pub fn iter(&self) -> impl Iterator<Item = (&[u32], u64)> {
        let ngrams = self.ids.chunks_exact(self.order);
        ngrams.zip(self.counts.iter().copied())
    }
}

#[cfg(test)]
mod tests;
