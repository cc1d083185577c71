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

#[derive(Deserialize)]
struct Encoded {
    codec: RowCodec,
    /// In hexadecimal.
    rows: Vec<String>,
}

#[derive(Deserialize)]
struct EncodedVectors {
    /// Bits of the values of each row, eight digits each.
    f32: Vec<String>,
    encoded: Vec<Encoded>,
}

fn floats(bits: &str) -> Vec<f32> {
    let bits = bytes(bits);
    let words = bits.as_chunks().0.iter();
    words.map(|&word| f32::from_be_bytes(word)).collect()
}

/// Checks rows of many kinds that `make_encoded.py` has written to `json`, and returns the ids of their codecs.
fn check_encoded(json: &[u8]) -> BTreeSet<u32> {
    let vectors: EncodedVectors = serde_json::from_slice(json).unwrap();
    let mut seen = BTreeSet::new();
    for Encoded { codec, rows } in vectors.encoded {
        codec.validate().unwrap();
        seen.insert(codec.id());
        assert_eq!(rows.len(), vectors.f32.len());
        for (index, (values, expected)) in vectors.f32.iter().zip(&rows).enumerate() {
            let mut row = vec![0xA5; codec.row_bytes()];
            codec.encode(&floats(values), &mut row).unwrap();
            let expected = bytes(expected);
            let differs = row.iter().zip(&expected).position(|(a, b)| a != b);
            assert_eq!(
                differs, None,
                "first byte of row {index} that differs, {codec:?}"
            );
            assert_eq!(row.len(), expected.len());
        }
    }
    seen
}

#[test]
fn values_are_encoded_as_other_libraries_encode_them() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../format-spec/vectors/encoded.json"
    );
    let seen = check_encoded(&std::fs::read(path).unwrap());
    assert_eq!(seen, (1..=18).collect(), "ids of the codecs there are");
}

#[test]
fn other_values_are_encoded_as_python_packages_encode_them() {
    let Some(python) = std::env::var_os("ENGRAM_PYTHON") else {
        println!("SKIPPED: ENGRAM_PYTHON names no Python with gguf and ml_dtypes");
        return;
    };
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../format-spec/vectors/make_encoded.py"
    );
    for seed in ["1", "2", "3", "4"] {
        let mut command = std::process::Command::new(&python);
        let made = command.args([script, "--seed", seed]).output().unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{said}");
        assert!(check_encoded(&made.stdout).len() > 12);
    }
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
