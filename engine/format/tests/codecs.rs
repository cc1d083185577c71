//! Row codecs against the values that independent libraries found (`format-spec/vectors/make_codecs.py`).

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;

use engram_format::{RowCodec, bf16, f16};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    codec: RowCodec,
    /// In hexadecimal.
    rows: Vec<String>,
    /// Bits of the values of each row, eight digits each. All NaN have the same.
    f32: Vec<String>,
}

fn vectors() -> Vec<Vector> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../format-spec/vectors/codecs.json"
    );
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().as_chunks::<2>().0;
    let byte = |digits| u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap();
    digits.iter().map(|digits| byte(digits)).collect()
}

#[test]
fn rows_have_the_values_that_other_libraries_find() {
    let mut seen = BTreeSet::new();
    for vector in vectors() {
        let codec = vector.codec;
        codec.validate().unwrap();
        seen.insert(codec.id());
        let expected: Vec<f32> = vector
            .f32
            .iter()
            .flat_map(|bits| {
                let bits = bytes(bits);
                let words = bits.as_chunks().0.iter();
                words
                    .map(|&word| f32::from_be_bytes(word))
                    .collect::<Vec<_>>()
            })
            .collect();
        let rows: Vec<u8> = vector.rows.iter().flat_map(|row| bytes(row)).collect();
        assert_eq!(rows.len(), vector.rows.len() * codec.row_bytes());
        let mut floats = vec![0.0; expected.len()];
        let mut halves = vec![f16::ZERO; expected.len()];
        let mut short = vec![bf16::ZERO; expected.len()];
        codec.decode_f32(&rows, &mut floats);
        codec.decode_f16(&rows, &mut halves);
        codec.decode_bf16(&rows, &mut short);
        for (at, &expected) in expected.iter().enumerate() {
            let found = floats[at];
            let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
            assert!(
                same,
                "{codec:?}, value {at}: {found:e}, expected {expected:e}"
            );
            assert!(halves[at] == f16::from_f32(expected) || expected.is_nan());
            assert!(short[at] == bf16::from_f32(expected) || expected.is_nan());
        }
        let first = codec.find_nan(&rows[..codec.row_bytes()]);
        assert!(
            first.is_some() || floats[..codec.width()].iter().all(|value| !value.is_nan()),
            "{codec:?}"
        );
    }
    assert_eq!(
        seen,
        (1..=18).collect(),
        "ids of the codecs that there are vectors for"
    );
}
