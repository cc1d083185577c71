//! Counting the n-grams of texts.

use std::{collections::HashMap, ops::Range};

use super::{MAX_PROFILE_NGRAMS, OrderCounts, Profile, WindowRules};
use crate::{
    address::{Hasher, MAX_ORDER, Sequence},
    error::AddressError,
};

/// An n-gram, newest id first, filled up with zeros.
type Ngram = [u32; MAX_ORDER];

/// Counts the n-grams of texts, from which it makes a profile. Takes 50 to 100 bytes of memory a different n-gram.
#[derive(Debug)]
pub struct ProfileCounter<'a> {
    hasher: &'a Hasher,
    tokens: u64,
    /// Those that have columns.
    orders: Vec<HashMap<Ngram, u64>>,
}

impl<'a> ProfileCounter<'a> {
    /// A counter that has counted nothing.
    pub fn new(hasher: &'a Hasher) -> Self {
        Self {
            hasher,
            tokens: 0,
            orders: orders_of(hasher).map(|_| HashMap::new()).collect(),
        }
    }

    /// Appends `tokens` to `sequence`, and counts the n-grams that [`Hasher::extend`] would hash.
    ///
    /// # Errors
    /// A token outside the vocabulary; then nothing has changed.
    pub fn count(&mut self, sequence: &mut Sequence, tokens: &[u32]) -> Result<(), AddressError> {
        let orders = &mut self.orders;
        let first_order = orders_of(self.hasher).start;
        self.hasher.extend_windows(sequence, tokens, |window| {
            for (order, counts) in (first_order..).zip(&mut *orders) {
                let mut ngram = [0; MAX_ORDER];
                ngram[..order].copy_from_slice(&window[..order]);
                *counts.entry(ngram).or_default() += 1;
            }
        })?;
        self.tokens += tokens.len() as u64;
        Ok(())
    }

    /// Number of tokens counted so far.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The profile of the `top` most frequent n-grams of each order, where `top` is taken as 1 to
    /// [`MAX_PROFILE_NGRAMS`]. `None` if nothing was counted. Of n-grams with equal counts, those with the smaller ids
    /// are kept.
    pub fn finish(self, top: usize) -> Option<Profile> {
        let top = top.clamp(1, MAX_PROFILE_NGRAMS);
        let orders = orders_of(self.hasher).zip(self.orders);
        (self.tokens > 0).then(|| Profile {
            rules: WindowRules::of(self.hasher),
            tokens: self.tokens,
            orders: orders
                .map(|(order, counts)| most_frequent(order, counts, top))
                .collect(),
        })
    }
}

/// The orders that have columns.
fn orders_of(hasher: &Hasher) -> Range<usize> {
    let scheme = hasher.scheme();
    scheme.first_order() as usize..scheme.max_order as usize + 1
}

fn most_frequent(order: usize, counts: HashMap<Ngram, u64>, top: usize) -> OrderCounts {
    let distinct = counts.len() as u64;
    let mut all: Vec<(Ngram, u64)> = counts.into_iter().collect();
    let first = |(a, a_count): &(Ngram, u64), (b, b_count): &(Ngram, u64)| {
        b_count.cmp(a_count).then_with(|| a.cmp(b))
    };
    if all.len() > top {
        all.select_nth_unstable_by(top - 1, first);
        all.truncate(top);
    }
    all.sort_unstable_by(first);
    OrderCounts {
        order,
        distinct,
        ids: all
            .iter()
            .flat_map(|(ngram, _)| ngram[..order].iter().copied())
            .collect(),
        counts: all.iter().map(|&(_, count)| count).collect(),
    }
}
