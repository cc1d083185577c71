//! Row ids agree with the models' published vectors and with an independent NumPy implementation.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use engram_format::{
    DEAD, EngramParameters, HashRule, Hasher, LongCatParameters, OverEncodingParameters,
    QwenParameters, Request, RowId, RowIds, Scheme, SchemeName, Sequence, TokenMap,
};
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};

fn vectors(file: &str) -> Value {
    let path = format!(
        "{}/../../format-spec/vectors/{file}",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<u64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        number => vec![number.as_u64().unwrap()],
    }
}

fn tokens(value: &Value) -> Vec<u32> {
    numbers(value)
        .into_iter()
        .map(|n| u32::try_from(n).unwrap())
        .collect()
}

fn sha256(values: impl IntoIterator<Item = u64>) -> String {
    let mut hash = Sha256::new();
    values
        .into_iter()
        .for_each(|v| hash.update(v.to_le_bytes()));
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// Row ids `[position][layer][column]`, flat.
fn by_position(rows: &RowIds, layers: usize) -> Vec<u64> {
    (0..rows.positions())
        .flat_map(|p| (0..layers).flat_map(move |l| rows.position(l, p)))
        .map(|row| row.0)
        .collect()
}

fn hash(hasher: &Hasher, tokens: &[u32]) -> Vec<u64> {
    let mut rows = RowIds::new();
    hasher
        .extend(&mut Sequence::new(), tokens, &mut rows)
        .unwrap();
    by_position(&rows, hasher.scheme().layers.len())
}

/// A hasher over ids that are compressed already.
fn identity(scheme: Scheme) -> Hasher {
    let map = scheme.compressed.then(|| {
        TokenMap::new(
            (0..scheme.hashed_vocab_size).collect(),
            scheme.hashed_vocab_size,
        )
        .unwrap()
    });
    Hasher::new(scheme, map).unwrap()
}

fn multipliers(scheme: &Scheme) -> Vec<u64> {
    let layers = scheme.layers.iter();
    layers
        .flat_map(|layer| match &layer.hash {
            HashRule::XorMultiply { multipliers } => multipliers.clone(),
            HashRule::Polynomial { .. } | HashRule::PerColumn { .. } => vec![],
        })
        .collect()
}

#[test]
fn deepseek_v41_constants_have_the_published_digests() {
    let scheme = SchemeName::DeepSeekV41Flash.scheme();
    let rows: Vec<u64> = scheme.layers.iter().map(|l| l.row_count).collect();
    assert_eq!(rows, [384_006_168, 384_016_682]);
    assert_eq!(
        sha256(multipliers(&scheme)),
        "7345f44ec93e965df6581af59c78a5dd6efba7be2e855486450a6594d7ebd7c6"
    );
    assert_eq!(
        sha256(scheme.layers.iter().flat_map(|l| l.buckets.clone())),
        "ed542f58c4b3593c4120e899620231785b695dfc61bcc3d04b61b113abd9cf9e"
    );
    assert_eq!(
        sha256((0..2).flat_map(|l| scheme.columns(l).map(|c| c.first_row).collect::<Vec<_>>())),
        "edf229962df441c86f9c20cbc126579dd548421e231250b146ee6f5bea0b2f8b"
    );
}

#[test]
fn deepseek_v41_rows_have_the_published_digests() {
    let hasher = identity(SchemeName::DeepSeekV41Flash.scheme());
    let rows = hash(&hasher, &[0, 3, 15]);
    let (first_two, third) = rows.split_at(2 * 48);
    assert_eq!(
        sha256(first_two.iter().copied()),
        "f5a64799492bea90bc6d87f0cb8a67bb983441e1cd9c12ec2e7b8df6cbcfee1d"
    );
    assert_eq!(
        sha256(third.iter().copied()),
        "09c32d336e7a23d61ff9ac94674cb30039857eeeb3df82cf475157685d76c530"
    );
    assert_eq!(
        rows,
        numbers(&vectors("published.json")["v41"]["F0_real_tokens_0_3_15"]["rows"])
    );
}

#[test]
fn deepseek_v41_fixtures_agree_with_a_toy_token_map() {
    let v41 = &vectors("published.json")["v41"];
    let map = TokenMap::new(vec![0, 1, 2, 3, 3, 5, 6, 7, 99_091, 2], 99_092).unwrap();
    let hasher = Hasher::new(SchemeName::DeepSeekV41Flash.scheme(), Some(map)).unwrap();
    let i32_digest = |rows: Vec<u64>| {
        let mut hash = Sha256::new();
        rows.iter()
            .for_each(|&row| hash.update(i32::try_from(row).unwrap().to_le_bytes()));
        hash.finalize()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<String>()
    };
    let f1 = hash(&hasher, &[0, 1, 2, 3, 4, 5, 6, 9]);
    assert_eq!(f1, numbers(&v41["F1"]["rows"]));
    assert_eq!(
        i32_digest(f1),
        "66db30d48c026b2023f77501eecdfc11e75cd578ad151595b8cea1941d6c3d96"
    );
    let f2 = hash(&hasher, &[0, 1, 2, DEAD, 4, 5, 6, 9]);
    assert_eq!(
        i32_digest(f2),
        "dca3cc49fa6a1ae4223d37ffe0f35ae48406bd36a471dde66d143ecd1903f5b3"
    );
    let f3 = hash(&hasher, &[3, 5, 6, 8]);
    assert_eq!(f3, hash(&hasher, &[4, 5, 6, 8]));
    assert_eq!(
        i32_digest(f3),
        "bceda83a71ed7732ea6d0f74771d595f0f562601ea64124548fabd4756418e1d"
    );
}

#[test]
fn deepseek_v41_dead_and_extreme_windows_hit_the_published_rows() {
    let hasher = identity(SchemeName::DeepSeekV41Flash.scheme());
    let dead = hash(&hasher, &[DEAD]);
    assert_eq!(dead[..4], [4_299_726, 29_253_038, 43_157_972, 58_397_134]);
    assert_eq!(dead[23], 370_096_053);
    assert_eq!((dead[24], dead[47]), (6_788_701, 381_853_422));
    let last = hash(&hasher, &[99_091; 4])[3 * 48..].to_vec();
    assert_eq!(last[..3], [12_193_612, 18_525_611, 33_702_377]);
    assert_eq!(last[24..27], [11_374_428, 25_091_813, 43_617_803]);
}

#[test]
fn demo_rows_agree_with_the_walk_through() {
    let demo = &vectors("published.json")["demo_v1"];
    let scheme = SchemeName::EngramDemoV1.scheme();
    assert_eq!(multipliers(&scheme), numbers(&demo["multipliers"]));
    let buckets: Vec<u64> = scheme
        .layers
        .iter()
        .flat_map(|l| l.buckets.clone())
        .collect();
    assert_eq!(buckets, numbers(&demo["primes"]));
    let offsets: Vec<u64> = scheme.columns(0).map(|c| c.first_row).collect();
    let rows = hash(&identity(scheme), &tokens(&demo["compressed"]));
    let hashes: Vec<u64> = rows
        .chunks(32)
        .flat_map(|position| {
            position[..16]
                .iter()
                .zip(&offsets)
                .map(|(row, first)| row - first)
        })
        .collect();
    assert_eq!(hashes, numbers(&demo["hashes_before_offset"]["1"]));
    assert_eq!(
        sha256(hashes),
        "7b7720af8809fc99c324c3f7f9f9d03e9400db9dc41e53227f3e078e4b804566"
    );
}

#[test]
fn qwen_rows_agree_with_the_published_ones() {
    let qwen = &vectors("published.json")["qwen4_exp"];
    let scheme = SchemeName::Qwen38FlashNext.scheme();
    assert_eq!(multipliers(&scheme), numbers(&qwen["multipliers"]));
    assert_eq!(scheme.layers[0].buckets, numbers(&qwen["head_sizes"]));
    assert_eq!(scheme.layers[0].row_count, 320_001_536);
    let rows = hash(&identity(scheme), &tokens(&qwen["input_ids"]));
    assert_eq!(rows, numbers(&qwen["rows"]));
}

#[test]
fn longcat_has_the_published_row_count() {
    assert_eq!(
        SchemeName::LongCatFlashLite.scheme().layers[0].row_count,
        122_683_536
    );
}

#[test]
fn every_family_agrees_with_numpy() {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let n32 = |v: &Value| u32::try_from(v.as_u64().unwrap()).unwrap();
    let cases = vectors("addressing.json")["cases"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let p = &case["params"];
        let scheme = match case["family"].as_str().unwrap() {
            "engram" => EngramParameters {
                name: text(&p["name"]),
                layers: tokens(&p["layers"]),
                heads: n32(&p["heads"]),
                bucket_starts: numbers(&p["bucket_starts"]),
                compressed_vocab_size: n32(&p["compressed_vocab_size"]),
                pad: n32(&p["pad"]),
                seed: p["seed"].as_u64().unwrap(),
            }
            .scheme(),
            "qwen" => QwenParameters {
                name: text(&p["name"]),
                layers: tokens(&p["layers"]),
                max_order: n32(&p["max_order"]),
                heads: n32(&p["heads"]),
                bucket_start: p["bucket_start"].as_u64().unwrap(),
                row_multiple: p["row_multiple"].as_u64().unwrap(),
                vocab_size: n32(&p["vocab_size"]),
                eos: n32(&p["eos"]),
                seed: p["seed"].as_u64().unwrap(),
            }
            .scheme(),
            _ => LongCatParameters {
                name: text(&p["name"]),
                max_order: n32(&p["max_order"]),
                heads: n32(&p["heads"]),
                bucket_base: p["bucket_base"].as_u64().unwrap(),
                vocab_size: n32(&p["vocab_size"]),
                ignored: tokens(&p["ignored"]),
            }
            .scheme(),
        };
        let scheme = scheme.unwrap();
        assert_eq!(multipliers(&scheme), numbers(&case["multipliers"]), "{p}");
        assert_eq!(
            hash(&identity(scheme), &tokens(&case["ids"])),
            numbers(&case["rows"]),
            "{p}"
        );
    }
}

/// `families.json` is made by `make_families.py`, which the suite of the whole system runs anew where Python is.
#[test]
fn further_families_agree_with_plain_python() {
    let cases = vectors("families.json")["cases"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let p = &case["params"];
        let name = p["name"].as_str().unwrap();
        let scheme = match case["family"].as_str().unwrap() {
            "longcat" => match name.parse::<SchemeName>() {
                Ok(name) => name.scheme(),
                Err(_) => LongCatParameters {
                    name: name.into(),
                    max_order: 3,
                    heads: 4,
                    bucket_base: 211,
                    vocab_size: 64,
                    ignored: tokens(&case["ignored"]),
                }
                .scheme()
                .unwrap(),
            },
            "per_layer" => name.parse::<SchemeName>().unwrap().scheme(),
            _ => {
                let parameters: OverEncodingParameters = serde_json::from_value(p.clone()).unwrap();
                let scheme = parameters.scheme().unwrap();
                let buckets = scheme.layers.iter().flat_map(|layer| layer.buckets.clone());
                assert_eq!(buckets.collect::<Vec<_>>(), numbers(&case["buckets"]));
                scheme
            }
        };
        let found = hash(&identity(scheme), &tokens(&case["ids"]));
        assert_eq!(found, numbers(&case["rows"]), "{p}");
    }
}

#[test]
fn larger_longcats_have_the_sizes_of_their_models() {
    let scheme = SchemeName::LongCatLite4096.scheme();
    assert_eq!(scheme.layers[0].buckets[0], 9_765_520);
    assert_eq!(scheme.boundary.unwrap().tokens.len(), 23);
    let scheme = SchemeName::LongCat2.scheme();
    // 135 billion values: 16 columns of 512 each.
    assert_eq!(scheme.layers[0].row_count, 263_630_608);
    assert_eq!(scheme.column_count(), 16);
}

#[test]
fn tokens_that_a_longcat_ignores_have_the_first_row_of_every_column() {
    for name in [SchemeName::LongCatLite4096, SchemeName::LongCat2] {
        let hasher = identity(name.scheme());
        let first_rows: Vec<u64> = hasher.scheme().columns(0).map(|c| c.first_row).collect();
        for ignored in hasher.scheme().boundary.clone().unwrap().tokens {
            let rows = hash(&hasher, &[77, ignored, 78]);
            assert_eq!(rows[16..32], first_rows, "{ignored}");
            assert_eq!(
                rows[32..],
                hash(&hasher, &[78]),
                "{ignored} ends the history"
            );
        }
    }
}

#[test]
fn rows_of_per_layer_embeddings_are_token_ids() {
    let hasher = identity(SchemeName::Gemma3n.scheme());
    assert_eq!(hasher.scheme().column_count(), 1);
    let column = hasher.scheme().columns(0).next().unwrap();
    assert_eq!((column.order, column.row_count), (1, 262_144));
    let rows = hash(&hasher, &[5, 5, DEAD, 262_143, 0]);
    assert_eq!(rows, [5, 5, 0, 262_143, 0]);
    assert_eq!(hasher.ngram_row(0, 0, &[9]), RowId(9));
    let outside = hasher.extend(&mut Sequence::new(), &[262_144], &mut RowIds::new());
    assert!(outside.is_err(), "an image token has no row of its own");
}

#[test]
fn over_encodings_that_cannot_work_are_refused_by_what_is_wrong() {
    let good = vectors("families.json")["cases"][5]["params"].clone();
    let refusal = |place: &str, value: Value| {
        let mut json = good.clone();
        *json.pointer_mut(place).unwrap() = value;
        match serde_json::from_value::<OverEncodingParameters>(json) {
            Ok(parameters) => parameters.scheme().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    };
    let cases = [
        ("/max_order", 1.into(), "max_order is 1, expected 2 to 8"),
        ("/max_order", 9.into(), "max_order is 9"),
        ("/heads", 0.into(), "heads is 0"),
        ("/vocab_size", 0.into(), "hashed_vocab_size is 0"),
        ("/layers", Value::Array(vec![]), "layers is 0"),
        ("/layers/1/layer", 0.into(), "expected layers that differ"),
        ("/layers/0/sizes/primes_from", 0.into(), "primes_from is 0"),
        (
            "/layers/2/sizes/odd_above",
            (1_u64 << 40).into(),
            "odd_above is 1099511627776",
        ),
        ("/layers/4/sizes/each/1", 0.into(), "size of a column is 0"),
        (
            "/layers/4/sizes/each",
            serde_json::json!([1, 2, 3]),
            "sizes is 3, expected 4, one for each column",
        ),
        (
            "/layers/1/hash/bases",
            serde_json::json!([1, 2, 3]),
            "bases is 3, expected one, one for each of 2 heads",
        ),
        ("/layers/0/hash/bases", serde_json::json!([]), "bases is 0"),
        (
            "/layers/3/hash/multipliers",
            serde_json::json!([1]),
            "multipliers is 1, expected one for each of 3",
        ),
        (
            "/layers/3/hash/multipliers/0",
            (1_u64 << 60).into(),
            "would overflow",
        ),
        (
            "/layers/4/hash/factors/2",
            serde_json::json!([1, 2]),
            "factors of a column is 2, expected one for each of the 3 tokens of column 2",
        ),
        (
            "/layers/4/hash/factors",
            serde_json::json!([[1, 2]]),
            "lists of factors is 1, expected one for each of 4 columns",
        ),
        (
            "/layers/4/hash/factors/0/0",
            u64::MAX.into(),
            "would overflow",
        ),
        (
            "/layers/5/hash/factors/3/1",
            (u64::MAX / 499).into(),
            "would overflow",
        ),
        ("/layers/0/hash/rule", "md5".into(), "unknown variant `md5`"),
    ];
    for (place, value, expected) in cases {
        let refused = refusal(place, value);
        assert!(refused.contains(expected), "{place}: {refused}");
    }
}

#[test]
fn a_token_outside_the_vocabulary_changes_nothing() {
    let hasher = identity(SchemeName::Qwen38FlashNext.scheme());
    let mut sequences = [Sequence::new(), Sequence::new()];
    let mut rows = RowIds::new();
    hasher
        .extend(&mut sequences[1], &[1, 2], &mut rows)
        .unwrap();
    let before = (sequences.clone(), rows.clone());
    let [first, second] = &mut sequences;
    let mut requests = [
        Request {
            sequence: first,
            tokens: &[5, 6],
        },
        Request {
            sequence: second,
            tokens: &[7, 248_320],
        },
    ];
    let refused = hasher.extend_batch(&mut requests, &mut rows).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "token 248320 at position 1 of request 1 is outside the vocabulary of 248320"
    );
    assert_eq!((sequences, rows), before);
}

#[test]
fn windows_that_cannot_be_hashed_change_nothing() {
    let hasher = identity(SchemeName::Qwen38FlashNext.scheme());
    let mut rows = RowIds::new();
    hasher
        .hash_windows(&[7, 6, 5], |_| false, &mut rows)
        .unwrap();
    let before = rows.clone();
    for (windows, expected) in [
        (
            &[1, 2, 3, 4, 248_320, 5][..],
            "token 248320 at place 1 of window 1 is outside the vocabulary of 248320",
        ),
        (
            &[1, 2, 3, 4],
            "4 ids are no whole number of windows of 3 ids",
        ),
    ] {
        let refused = hasher.hash_windows(windows, |_| false, &mut rows);
        assert_eq!(refused.unwrap_err().to_string(), expected);
        assert_eq!(rows, before);
    }
}

#[test]
fn schemes_that_cannot_work_are_refused() {
    let scheme = SchemeName::DeepSeekV41Flash.scheme();
    let refused = Hasher::new(scheme.clone(), None).unwrap_err().to_string();
    assert!(refused.contains("needs a token map"), "{refused}");
    let map = TokenMap::new(vec![99_092], 99_093).unwrap();
    let refused = Hasher::new(scheme.clone(), Some(map))
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("largest id of the token map is 99092"),
        "{refused}"
    );
    let mut overflowing = scheme;
    overflowing.layers[0].hash = HashRule::XorMultiply {
        multipliers: vec![1, 1, 1 << 50, 1],
    };
    let refused = overflowing.validate().unwrap_err().to_string();
    assert!(refused.contains("layer 1 would overflow"), "{refused}");
    let refused = "deepseek-v9".parse::<SchemeName>().unwrap_err().to_string();
    assert!(
        refused.contains("unknown scheme `deepseek-v9`"),
        "{refused}"
    );
}

#[test]
fn a_scheme_of_too_many_columns_is_refused_before_it_is_derived() {
    // Its seven million primes would take hours by trial division, and minutes by any test.
    let layers: Vec<u32> = (0..1024).collect();
    let engram = EngramParameters {
        name: "hostile".into(),
        layers: layers.clone(),
        heads: 1024,
        bucket_starts: vec![1 << 35; 7],
        compressed_vocab_size: 99_092,
        pad: 2,
        seed: 0,
    };
    let qwen = QwenParameters {
        name: "hostile".into(),
        layers,
        max_order: 8,
        heads: 1024,
        bucket_start: 1 << 35,
        row_multiple: 1,
        vocab_size: 99_092,
        eos: 2,
        seed: 0,
    };
    for refused in [engram.scheme(), qwen.scheme()] {
        let refused = refused.unwrap_err().to_string();
        assert_eq!(refused, "scheme: columns is 7168, expected 1 to 1024");
    }
}

fn scheme_tokens() -> impl Strategy<Value = (SchemeName, Vec<u32>)> {
    let name = prop::sample::select(SchemeName::ALL.to_vec());
    name.prop_flat_map(|name| {
        let scheme = name.scheme();
        let boundary = scheme.boundary.map_or(vec![DEAD], |b| b.tokens);
        let token = prop_oneof![
            8 => 0..scheme.hashed_vocab_size,
            1 => Just(DEAD),
            1 => prop::sample::select(boundary),
        ];
        (Just(name), prop::collection::vec(token, 1..40))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn chunks_rollbacks_forks_and_batches_give_the_rows_of_one_call(
        (name, tokens) in scheme_tokens(),
        cuts in prop::collection::vec(0usize..40, 0..6),
        wrong in prop::collection::vec(0u32..1000, 0..6),
    ) {
        let hasher = identity(name.scheme());
        let layers = hasher.scheme().layers.len();
        let whole = hash(&hasher, &tokens);

        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(tokens.len())).chain([0, tokens.len()]).collect();
        cuts.sort_unstable();
        let (mut sequence, mut rows, mut chunked) = (Sequence::new(), RowIds::new(), vec![]);
        for cut in cuts.windows(2) {
            // Speculate, reject, fork, peek: none may leave a trace.
            hasher.extend(&mut sequence, &wrong, &mut rows).unwrap();
            sequence.truncate(cut[0]);
            let mut fork = sequence.fork();
            hasher.advance(&mut fork, &wrong).unwrap();
            let chunk = &tokens[cut[0]..cut[1]];
            hasher.peek(&sequence, chunk, &mut rows).unwrap();
            let peeked = by_position(&rows, layers);
            hasher.extend(&mut sequence, chunk, &mut rows).unwrap();
            prop_assert_eq!(&by_position(&rows, layers), &peeked);
            chunked.extend(peeked);
        }
        prop_assert_eq!(&chunked, &whole);
        prop_assert_eq!(sequence.len(), tokens.len());

        let (head, tail) = tokens.split_at(tokens.len() / 2);
        let (mut first, mut second) = (Sequence::new(), Sequence::new());
        hasher.advance(&mut second, head).unwrap();
        let mut batch = [
            Request { sequence: &mut first, tokens: &tokens },
            Request { sequence: &mut second, tokens: tail },
        ];
        hasher.extend_batch(&mut batch, &mut rows).unwrap();
        let both: Vec<u64> = by_position(&rows, layers);
        prop_assert_eq!(&both[..whole.len()], &whole[..]);
        prop_assert_eq!(&both[whole.len()..], &whole[whole.len() / tokens.len() * head.len()..]);
        prop_assert_eq!(first, second);
    }

    #[test]
    fn windows_give_the_rows_of_a_sequence(
        (name, tokens) in scheme_tokens(),
        blocked in prop::collection::vec(prop::bool::weighted(0.1), 40),
    ) {
        let hasher = identity(name.scheme());
        let history: Vec<u32> = (tokens.iter().zip(&blocked))
            .map(|(&token, &blocked)| if blocked { DEAD } else { token })
            .collect();
        let (mut by_sequence, mut by_windows) = (RowIds::with_ngrams(), RowIds::with_ngrams());
        hasher.extend(&mut Sequence::new(), &history, &mut by_sequence).unwrap();
        let reach = hasher.scheme().max_order as usize;
        let (mut windows, mut mask) = (vec![], vec![]);
        for position in 0..tokens.len() {
            for place in 0..reach {
                let token = position.checked_sub(place);
                mask.push(token.is_none_or(|token| blocked[token]));
                // What stands in a blocked place does not matter, not even if it is no token.
                windows.push(token.map_or(u32::MAX - 1, |token| tokens[token]));
            }
        }
        hasher.hash_windows(&windows, |index| mask[index], &mut by_windows).unwrap();
        prop_assert_eq!(by_windows, by_sequence);
    }

    #[test]
    fn row_ids_stay_in_their_columns((name, tokens) in scheme_tokens()) {
        let hasher = identity(name.scheme());
        let mut rows = RowIds::new();
        hasher.extend(&mut Sequence::new(), &tokens, &mut rows).unwrap();
        for layer in 0..hasher.scheme().layers.len() {
            for ids in rows.layer(layer).chunks(hasher.scheme().column_count()) {
                for (column, &RowId(row)) in hasher.scheme().columns(layer).zip(ids) {
                    prop_assert!((column.first_row..column.first_row + column.row_count).contains(&row));
                }
            }
        }
    }
}
