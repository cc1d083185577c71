//! `collisions` counts what n-grams of a text share, as a count of all pairs would.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "numbers of tests are small"
)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use common::{Folder, fails, ok};
use engram::{Sequence, read_hasher};
use serde_json::Value;

#[test]
#[expect(clippy::too_many_lines, reason = "the count by hand is one whole")]
fn shared_rows_are_those_of_a_count_by_hand() {
    let folder = Folder::new();
    let checkpoint = folder.synth("longcat-flash-lite", "checkpoint");
    let pack = &folder.at("pack");
    ok(&["build", &checkpoint, "-o", pack]);
    let hasher = read_hasher(pack).unwrap();
    let vocab = hasher.vocab_size() as u32;
    let tokens: Vec<u32> = (0..3_000_u32)
        .map(|at| (at * at * 7 + at / 9) % 211 % vocab)
        .collect();
    let trace = &folder.at("tokens.u32le");
    let bytes: Vec<u8> = tokens
        .iter()
        .flat_map(|token| token.to_le_bytes())
        .collect();
    fs::write(trace, bytes).unwrap();
    let report: Value = serde_json::from_str(&ok(&[
        "collisions",
        pack,
        "--trace",
        trace,
        "--most",
        "5",
        "--json",
    ]))
    .unwrap();
    let report = &report["report"];

    let mut windows = Vec::new();
    let each = |window: &[u32]| windows.push(window.to_vec());
    hasher
        .extend_windows(&mut Sequence::new(), &tokens, each)
        .unwrap();
    let scheme = hasher.scheme();
    let mut worst = 0;
    let mut any_alike = 0;
    for found in report["orders"].as_array().unwrap() {
        let layer = scheme
            .layers
            .iter()
            .position(|of| found["layer"] == of.id.0)
            .unwrap();
        let order = found["order"].as_u64().unwrap() as usize;
        let ngrams: BTreeSet<&[u32]> = windows.iter().map(|window| &window[..order]).collect();
        assert_eq!(found["ngrams"], ngrams.len());
        let columns: Vec<_> = scheme
            .columns(layer)
            .filter(|c| c.order as usize == order)
            .collect();
        let row = |column: u32, ngram: &[u32]| hasher.ngram_row(layer, column as usize, ngram);
        for (column, head) in columns.iter().zip(found["heads"].as_array().unwrap()) {
            let mut sharing: BTreeMap<_, usize> = BTreeMap::new();
            for ngram in &ngrams {
                *sharing.entry(row(column.index, ngram)).or_default() += 1;
            }
            assert_eq!(head["rows_read"], sharing.len());
            let expected: usize = sharing.values().filter(|count| **count > 1).sum();
            assert_eq!(head["sharing"], expected);
            let tokens = windows
                .iter()
                .filter(|window| sharing[&row(column.index, &window[..order])] > 1);
            assert_eq!(head["sharing_tokens"], tokens.count());
            worst = worst.max(sharing.values().copied().max().unwrap());
        }
        let rows = |ngram: &[u32]| {
            columns
                .iter()
                .map(|c| row(c.index, ngram))
                .collect::<Vec<_>>()
        };
        let mut alike: BTreeMap<_, usize> = BTreeMap::new();
        ngrams
            .iter()
            .for_each(|ngram| *alike.entry(rows(ngram)).or_default() += 1);
        let expected: usize = alike.values().filter(|count| **count > 1).sum();
        assert_eq!(found["alike"], expected);
        any_alike += expected;
    }
    assert!(worst > 1, "the text has collisions");
    println!("{any_alike} alike");
    let shared = report["shared_rows"].as_array().unwrap();
    assert_eq!(shared[0]["ngrams"], worst);
    assert_eq!(shared.len(), 5);
    assert!(
        shared
            .windows(2)
            .all(|pair| pair[0]["ngrams"].as_u64() >= pair[1]["ngrams"].as_u64())
    );
    assert_eq!(report["suggested"].as_array().unwrap().len(), 5);

    // By a profile of the same text: the same.
    let profile = &folder.at("text.profile");
    ok(&["profile", pack, "--trace", trace, "-o", profile]);
    let again: Value = serde_json::from_str(&ok(&[
        "collisions",
        pack,
        "--profile",
        profile,
        "--most",
        "5",
        "--json",
    ]))
    .unwrap();
    assert_eq!(&again["report"], report);
    fs::write(trace, []).unwrap();
    fails(&["collisions", pack, "--trace", trace]);
}
