use super::*;
use crate::address::{LongCatParameters, Sequence};

fn hasher() -> Hasher {
    let family = LongCatParameters {
        name: "small".into(),
        max_order: 3,
        heads: 2,
        bucket_base: 37,
        vocab_size: 64,
        ignored: vec![2],
    };
    Hasher::new(family.scheme().unwrap(), None).unwrap()
}

/// The profile of a text with n-grams left out of both orders.
fn profile() -> Profile {
    let hasher = hasher();
    let mut counter = ProfileCounter::new(&hasher);
    let tokens: Vec<u32> = (0..200).map(|at| at * at % 23 % 7).collect();
    counter.count(&mut Sequence::new(), &tokens).unwrap();
    counter.finish(12).unwrap()
}

/// Bytes of a profile whose author recomputed the checksum after `edit`.
fn forged(edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = profile().to_bytes();
    bytes.truncate(bytes.len() - 16);
    edit(&mut bytes);
    let checksum = Digest::of(&bytes).0.to_le_bytes();
    bytes.extend(checksum);
    bytes
}

fn refusal(bytes: &[u8]) -> FormatError {
    Profile::from_bytes(bytes).unwrap_err()
}

#[test]
fn a_profile_survives_its_bytes() {
    let bytes = profile().to_bytes();
    assert_eq!(Profile::from_bytes(&bytes).unwrap(), profile());
    assert_eq!(forged(|_| ()), bytes);
    let profile = profile();
    let [two, three] = profile.orders() else {
        panic!("orders 2 and 3")
    };
    assert_eq!((two.kept(), three.kept()), (12, 12));
    assert!(two.distinct() > 12 && three.distinct() > two.distinct());
    assert_eq!(bytes.len(), 184 + 12 * 16 + 12 * 20 + 16);
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let bytes = profile().to_bytes();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        refusal(&damaged);
    }
    for len in 0..bytes.len() {
        refusal(&bytes[..len]);
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(refusal(&longer), FormatError::Checksum { .. }));
}

#[test]
fn what_a_forger_writes_is_refused_by_its_field() {
    const RECORDS_3: usize = 184 + 12 * 16;
    let cases: [(usize, &[u8], &str); 17] = [
        (12, &[1], "max order is 1, expected 2 to 8"),
        (12, &[9], "max order is 9, expected 2 to 8"),
        (16, &[0; 4], "hashed vocabulary is 0"),
        (16, &[255; 4], "hashed vocabulary is 4294967295"),
        (20, &[64], "fill is 64, expected below 64"),
        (24, &[2], "compressed is 2, expected 0 or 1"),
        (28, &[1], "reserved field is 1, expected 0"),
        (50, &[1], "token map digest of a scheme without one is"),
        (64, &[0; 8], "tokens is 0, expected 1 or more"),
        (72, &[201, 0], "different n-grams of order 2 is 201"),
        (80, &[0], "n-grams held of order 2 is 0"),
        (104, &[1], "different n-grams of order 4 is 1, expected 0"),
        (112, &[1], "n-grams held of order 4 is 1, expected 0"),
        (184 + 4, &[64], "largest id of n-gram 0 of order 2 is 64"),
        (RECORDS_3 + 12, &[0; 8], "count of n-gram 0 of order 3 is 0"),
        (
            RECORDS_3 + 12,
            &[201],
            "count of n-gram 0 of order 3 is 201, expected 1 to 200",
        ),
        (
            RECORDS_3 + 32,
            &[99],
            "count of n-gram 1 of order 3 is 99, expected at most",
        ),
    ];
    for (at, field, expected) in cases {
        let error = refusal(&forged(|bytes| {
            bytes[at..at + field.len()].copy_from_slice(field);
        }));
        assert!(matches!(error, FormatError::ProfileField { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}: {expected}");
    }
    let longer = refusal(&forged(|bytes| bytes.push(0)));
    assert!(matches!(longer, FormatError::Size { .. }), "{longer}");
    let newer = refusal(&forged(|bytes| bytes[8] = 3));
    assert!(matches!(newer, FormatError::Version { found: 3, .. }));
    let of_tokens = refusal(&forged(|bytes| bytes[8] = 2)).to_string();
    assert!(
        of_tokens.contains("max order is 3, expected 1"),
        "{of_tokens}"
    );
    let other = refusal(b"ENGRAMSH and more");
    assert!(matches!(other, FormatError::Magic { .. }), "{other}");
    assert!(matches!(refusal(b"ENG"), FormatError::Size { .. }));
}

#[test]
fn n_grams_out_of_order_and_impossible_sums_are_refused() {
    let profile = profile();
    let two = &profile.orders()[0];
    let counts: Vec<u64> = two.iter().map(|(_, count)| count).collect();
    let tie = counts.windows(2).position(|pair| pair[0] == pair[1]);
    let at = 184 + 16 * tie.expect("two n-grams with one count");
    let swapped = refusal(&forged(|bytes| {
        let (first, second) = bytes[at..at + 32].split_at_mut(16);
        first.swap_with_slice(second);
    }));
    assert!(
        swapped.to_string().contains("position of n-gram"),
        "{swapped}"
    );
    // As if far more n-grams were left out than tokens are left for.
    let sum = refusal(&forged(|bytes| bytes[72] = 200));
    assert!(
        sum.to_string().contains("sum of the counts of order 2"),
        "{sum}"
    );
    // As if all were there.
    let sum = refusal(&forged(|bytes| bytes[72] = 12));
    assert!(
        sum.to_string().contains("sum of the counts of order 2"),
        "{sum}"
    );
}

type Edit = fn(&mut WindowRules);

#[test]
fn another_models_profile_is_refused_by_the_field() {
    let rules = WindowRules::of(&hasher());
    assert_eq!(rules.check(&rules), Ok(()));
    let cases: [(&str, Edit); 5] = [
        ("max order is 4, the pack's is 3", |r| r.max_order = 4),
        ("hashed vocabulary is 65, the pack's is 64", |r| {
            r.hashed_vocab_size = 65
        }),
        ("fill is 9, the pack's is", |r| r.fill = 9),
        ("digest of the boundary is", |r| r.boundary.0 ^= 1),
        ("the pack's is none", |r| r.token_map = Some(Digest(7))),
    ];
    for (expected, edit) in cases {
        let mut other = rules;
        edit(&mut other);
        let error = other.check(&rules).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn all_orders_come_by_their_counts() {
    let profile = profile();
    let found: Vec<(usize, u64)> = profile
        .by_count()
        .map(|(ngram, count)| (ngram.len(), count))
        .collect();
    assert_eq!(found.len(), 24);
    assert!(found.is_sorted_by(|a, b| a.1 > b.1 || a.1 == b.1 && a.0 <= b.0));
}

#[test]
fn nothing_counted_is_no_profile() {
    assert_eq!(ProfileCounter::new(&hasher()).finish(5), None);
}
