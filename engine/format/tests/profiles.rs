//! Profiles count what the hasher hashes: by a naive count over windows as FORMAT.md defines them.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use engram_format::{
    Boundary, BoundaryRule, DEAD, HashRule, Hasher, LayerId, LayerScheme, Profile, ProfileCounter,
    RowIds, Scheme, Sequence, TokenMap,
};
use proptest::prelude::*;

const VOCAB: u32 = 5;

fn hasher(compressed: bool, rule: Option<BoundaryRule>, polynomial: bool) -> Hasher {
    let hash = if polynomial {
        HashRule::Polynomial { base: 7 }
    } else {
        HashRule::XorMultiply {
            multipliers: vec![101, 33, 57],
        }
    };
    let scheme = Scheme {
        name: "small".into(),
        compressed,
        hashed_vocab_size: VOCAB,
        fill: 1,
        boundary: rule.map(|rule| Boundary {
            tokens: vec![4, 2],
            rule,
        }),
        max_order: 3,
        heads: 2,
        layers: vec![LayerScheme {
            id: LayerId(0),
            hash,
            buckets: vec![11, 13, 17, 19],
            row_count: 60,
        }],
    };
    let map = compressed.then(|| TokenMap::new(vec![0, 1, 2, 3, 4, 3, 2, 1], VOCAB).unwrap());
    Hasher::new(scheme, map).unwrap()
}

/// The window of position `p`, spelled as FORMAT.md spells it.
fn window(hasher: &Hasher, tokens: &[u32], p: usize) -> Vec<u32> {
    let scheme = hasher.scheme();
    let id = |q: usize| match hasher.token_map() {
        Some(map) => map.ids()[tokens[q] as usize],
        None => tokens[q],
    };
    let rule = scheme.boundary.as_ref().map(|boundary| boundary.rule);
    let is_boundary = |q: usize| {
        let boundary = scheme.boundary.as_ref();
        tokens[q] != DEAD && boundary.is_some_and(|boundary| boundary.tokens.contains(&id(q)))
    };
    let dead = |q: usize| tokens[q] == DEAD || rule == Some(BoundaryRule::Dead) && is_boundary(q);
    (0..scheme.max_order as usize)
        .map(|s| {
            let gone = p < s
                || (p - s..=p).any(dead)
                || (p - s..p).any(|q| rule == Some(BoundaryRule::EndsHistory) && is_boundary(q));
            if gone { scheme.fill } else { id(p - s) }
        })
        .collect()
}

fn naive(hasher: &Hasher, texts: &[Vec<u32>], order: usize) -> Vec<(Vec<u32>, u64)> {
    let mut counts: BTreeMap<Vec<u32>, u64> = BTreeMap::new();
    for text in texts {
        for p in 0..text.len() {
            let ngram = window(hasher, text, p)[..order].to_vec();
            *counts.entry(ngram).or_default() += 1;
        }
    }
    // A stable sort leaves equal counts in the order of their ids.
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    counts
}

proptest! {
    #[test]
    fn counts_are_those_of_the_windows(
        texts in proptest::collection::vec(
            proptest::collection::vec(prop_oneof![9 => 0..VOCAB, 1 => Just(DEAD)], 0..60), 1..4),
        compressed: bool,
        polynomial: bool,
        rule in proptest::option::of(prop_oneof![
            Just(BoundaryRule::EndsHistory), Just(BoundaryRule::Dead)]),
        chunk in 1_usize..20,
        top in 1_usize..40,
    ) {
        let hasher = hasher(compressed, rule, polynomial);
        let mut counter = ProfileCounter::new(&hasher);
        for text in &texts {
            let mut sequence = Sequence::new();
            for chunk in text.chunks(chunk) {
                counter.count(&mut sequence, chunk).unwrap();
            }
            prop_assert_eq!(sequence.len(), text.len());
        }
        let tokens: usize = texts.iter().map(Vec::len).sum();
        let Some(profile) = counter.finish(top) else {
            prop_assert_eq!(tokens, 0);
            return Ok(());
        };
        prop_assert_eq!(profile.tokens(), tokens as u64);
        for counts in profile.orders() {
            let mut expected = naive(&hasher, &texts, counts.order());
            prop_assert_eq!(counts.distinct(), expected.len() as u64);
            expected.truncate(top);
            let found: Vec<_> = counts.iter().map(|(ngram, count)| (ngram.to_vec(), count)).collect();
            prop_assert_eq!(found, expected);
        }
        prop_assert_eq!(Profile::from_bytes(&profile.to_bytes()).unwrap(), profile);
    }

    #[test]
    fn an_n_grams_row_is_the_one_that_its_token_reads(
        tokens in proptest::collection::vec(0..VOCAB, 1..40),
        polynomial: bool,
    ) {
        let hasher = hasher(false, Some(BoundaryRule::EndsHistory), polynomial);
        let mut rows = RowIds::new();
        hasher.extend(&mut Sequence::new(), &tokens, &mut rows).unwrap();
        let mut position = 0;
        hasher.extend_windows(&mut Sequence::new(), &tokens, |window| {
            for (column, &row) in rows.position(0, position).iter().enumerate() {
                let ngram = &window[..column / 2 + 2];
                assert_eq!(hasher.ngram_row(0, column, ngram), row);
            }
            position += 1;
        }).unwrap();
    }
}

#[test]
fn a_token_outside_the_vocabulary_counts_nothing() {
    let hasher = hasher(false, None, false);
    let mut counter = ProfileCounter::new(&hasher);
    let mut sequence = Sequence::new();
    counter.count(&mut sequence, &[0, VOCAB]).unwrap_err();
    assert_eq!((counter.tokens(), sequence.len()), (0, 0));
}
