//! The profiles of `format-spec/vectors` read as they always did, here and in the Python reader.

use std::{fs, path::PathBuf};

use engram::{read_hasher, read_profile};
use engram_format::{Digest, WindowRules};
use engram_tests::{PROFILE_TOP, PROFILED, count, format_spec, python, sample_text};
use serde_json::{Value, json};

fn path(name: &str) -> PathBuf {
    format_spec().join(format!("vectors/profiles/{name}.profile"))
}

#[test]
fn what_is_expected_is_found_and_belongs_to_its_pack() {
    let expected = fs::read(format_spec().join("vectors/profiles/expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    assert_eq!(expected.as_object().unwrap().len(), PROFILED.len());
    for (name, expected) in expected.as_object().unwrap() {
        let profile = read_profile(path(name)).unwrap();
        assert_eq!(json!(profile.rules()), expected["rules"], "{name}");
        let tokens = expected["tokens"].as_array().unwrap();
        assert_eq!(profile.tokens(), tokens.len() as u64, "{name}");
        let orders = profile.orders().iter().map(|counts| {
            let ngrams: Vec<_> = counts.iter().collect();
            json!({ "distinct": counts.distinct(), "ngrams": ngrams })
        });
        assert_eq!(
            json!(orders.collect::<Vec<_>>()),
            expected["orders"],
            "{name}"
        );
        let hasher = read_hasher(format_spec().join("vectors").join(name)).unwrap();
        profile.rules().check(&WindowRules::of(&hasher)).unwrap();
    }
}

#[test]
fn todays_counter_writes_the_same_bytes() {
    for name in PROFILED {
        let hasher = read_hasher(format_spec().join("vectors").join(name)).unwrap();
        let profile = count(&hasher, &sample_text(&hasher), PROFILE_TOP);
        assert!(
            profile.to_bytes() == fs::read(path(name)).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn the_python_reader_agrees() {
    let Some(mut reader) = python("profile.py") else {
        return;
    };
    let vectors = format_spec().join("vectors");
    let checked = reader.arg("check").arg(vectors).output().unwrap();
    let out = String::from_utf8_lossy(&checked.stdout);
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{out}{said}");
    for name in PROFILED {
        assert!(out.contains(&format!("{name}: ok")), "{out}");
    }
}

#[test]
fn both_readers_refuse_the_same_profiles() {
    /// Where the n-grams of order 3 begin.
    const THREE: usize = 184 + 20 * 16;
    // Offset, bytes there, and whether the checksum is made right again.
    let cases: [(usize, &[u8], bool); 20] = [
        (0, b"X", true),
        (8, &[2], true),
        (300, &[77], false),
        (12, &[1], true),
        (12, &[9], true),
        (16, &[0; 4], true),
        (16, &[255; 4], true),
        (20, &[200], true),
        (24, &[2], true),
        (28, &[1], true),
        (64, &[0; 8], true),
        (72, &[255, 255], true),
        (72, &[20, 0], true),
        (80, &[0], true),
        (80, &[21], true),
        (104, &[1], true),
        (184, &[200], true),
        (192, &[0; 8], true),
        (THREE + 12, &[0, 9], true),
        (THREE + 32, &[99], true),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.profile");
    for (at, field, resealed) in cases {
        let mut bytes = fs::read(path("longcat")).unwrap();
        assert_ne!(&bytes[at..at + field.len()], field, "at {at}");
        bytes[at..at + field.len()].copy_from_slice(field);
        if resealed {
            let end = bytes.len() - 16;
            let checksum = Digest::of(&bytes[..end]).0.to_le_bytes();
            bytes[end..].copy_from_slice(&checksum);
        }
        fs::write(&file, bytes).unwrap();
        let ours = read_profile(&file).unwrap_err().to_string();
        assert_eq!(ours.contains("checksum"), !resealed, "at {at}: {ours}");
        let Some(mut reader) = python("profile.py") else {
            continue;
        };
        let refused = reader.arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(
            refused.status.code() == Some(1) && said.starts_with("error:"),
            "at {at}: {refused:?}"
        );
        assert_eq!(said.contains("checksum"), !resealed, "at {at}: {said}");
    }
    let Some(mut reader) = python("profile.py") else {
        return;
    };
    assert!(reader.arg(path("longcat")).status().unwrap().success());
}
