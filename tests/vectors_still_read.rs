//! The packs of `format-spec/vectors` read as they always did, here and in the Python reader.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{fs, path::Path};

use engram::{Config, LayerId, Reader, Storage, Store, read_manifest};
use engram_format::Digest;
use engram_pack::{ConvertOptions, ThawOptions, VerifyOptions, convert, thaw, verify};
use engram_tests::{
    COLD, READERS, files, format_spec, look_up, make_checkpoint, make_for_cold, make_pack, open,
    python, python_with, sample_rows, sample_tokens, small_families,
};
use serde_json::Value;

#[test]
fn every_reader_finds_what_is_expected() {
    let packs = finds_what_is_expected("vectors", &READERS);
    assert_eq!(packs, small_families().len());
}

#[test]
fn cold_packs_have_the_rows_and_become_the_packs_that_they_were() {
    let readers = [Reader::Direct, Reader::DirectThreads, Reader::Memory];
    assert_eq!(finds_what_is_expected("vectors/cold", &readers), COLD.len());
    for name in COLD {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        make_for_cold(name, &at("checkpoint"), &at("pack"));
        let cold = format_spec().join("vectors/cold").join(name);
        thaw(&cold, &at("thawed"), &ThawOptions::default(), &|_| ()).unwrap();
        assert!(files(&at("thawed")) == files(&at("pack")), "{name}");
        let Storage::Cold { tables } = read_manifest(&cold).unwrap().storage else {
            panic!("{name} is not cold");
        };
        let mut shards = tables.iter().flat_map(|table| &table.shards);
        let with_dictionary = shards.any(|shard| shard.dictionary_bytes > 0);
        assert_eq!(with_dictionary, name == "words");
        let found = verify(&cold, &VerifyOptions::default(), &|_| ()).unwrap();
        assert!(found.damage.is_empty(), "{:?}", found.damage);
    }
}

/// Compares what `readers` find in the packs of `folder` with its `expected.json`. The number of packs.
fn finds_what_is_expected(folder: &str, readers: &[Reader]) -> usize {
    let folder = format_spec().join(folder);
    let expected = fs::read(folder.join("expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    for (name, expected) in expected.as_object().unwrap() {
        for &reader in readers {
            let store = open(&folder.join(name), reader);
            let tokens = sample_tokens(&store);
            assert_eq!(tokens.len(), expected["tokens"].as_array().unwrap().len());
            let rows = sample_rows(&store);
            for (position, expected) in expected["rows"].as_array().unwrap().iter().enumerate() {
                for (layer, expected) in expected.as_array().unwrap().iter().enumerate() {
                    let found = serde_json::to_value(rows.position(layer, position)).unwrap();
                    assert_eq!(&found, expected, "{name} position {position}");
                }
            }
            for (place, expected) in expected["values"].as_object().unwrap() {
                let (layer, row) = place.split_once(':').unwrap();
                let layer = layer.parse().unwrap();
                let bytes = look_up(&store, layer, &[engram::RowId(row.parse().unwrap())]).unwrap();
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(hex, expected["hex"].as_str().unwrap(), "{name} {place}");
                let codec = store.codec(layer).unwrap();
                let mut values = vec![0.0; codec.width()];
                codec.decode_f32(&bytes, &mut values);
                let bits: Vec<u64> = values
                    .iter()
                    .map(|value| u64::from(value.to_bits()))
                    .collect();
                assert_eq!(
                    serde_json::to_value(bits).unwrap(),
                    expected["f32_bits"],
                    "{name} {place}"
                );
            }
        }
    }
    expected.as_object().unwrap().len()
}

#[test]
fn todays_packer_writes_the_same_bytes() {
    for (name, family) in small_families() {
        let folder = tempfile::tempdir().unwrap();
        let (checkpoint, pack) = (folder.path().join("checkpoint"), folder.path().join("pack"));
        make_checkpoint(&family, 7, &checkpoint);
        make_pack(&checkpoint, &pack);
        assert!(
            files(&pack) == files(&format_spec().join("vectors").join(name)),
            "{name}"
        );
    }
}

/// What the second reader says of the packs in a folder of vectors.
fn checked_by_python(folder: &str) -> Option<String> {
    let checked = python("reader.py")?
        .arg("check")
        .arg(format_spec().join(folder))
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&checked.stdout);
    assert!(
        checked.status.success(),
        "{out}{}",
        String::from_utf8_lossy(&checked.stderr)
    );
    Some(out.into())
}

#[test]
fn the_python_reader_agrees_on_cold_packs() {
    let Some(out) = checked_by_python("vectors/cold") else {
        return;
    };
    for name in COLD {
        let read = out.contains(&format!("{name}: ok"));
        if !read {
            println!("skipped: {out}");
        }
        assert!(read || out.contains("frames skipped"), "{out}");
    }
}

#[test]
fn the_python_reader_agrees() {
    let Some(out) = checked_by_python("vectors") else {
        return;
    };
    for (name, _) in small_families() {
        assert!(out.contains(&format!("{name}: ok")), "{out}");
    }
    assert!(out.contains("codecs.json: ok"), "{out}");
}

#[test]
fn a_converted_pack_is_read_and_made_as_it_was() {
    let vectors = format_spec().join("vectors");
    let frozen = vectors.join("converted/deepseek");
    let folder = tempfile::tempdir().unwrap();
    let options = ConvertOptions {
        keep: vec![LayerId(3)],
        ..ConvertOptions::to("int4:group=32".parse().unwrap())
    };
    let made = folder.path().join("made");
    convert(&vectors.join("deepseek"), &made, &options, &|_| ()).unwrap();
    assert!(files(&made) == files(&frozen));
    let Some(mut reader) = python("reader.py") else {
        return;
    };
    let checked = reader.arg("check").arg(vectors.join("converted"));
    let checked = checked.output().unwrap();
    let out = String::from_utf8_lossy(&checked.stdout);
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{out}{said}");
    assert!(out.contains("deepseek: ok"), "{out}");
}

/// `codecs.json` is what NumPy, `gguf` and `ml_dtypes` say, whichever versions of them are here.
#[test]
fn other_libraries_find_the_same_values() {
    let Some(mut oracle) = python_with("vectors/make_codecs.py", &["gguf", "ml_dtypes", "numpy"])
    else {
        return;
    };
    let made = oracle.output().unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let frozen = fs::read(format_spec().join("vectors/codecs.json")).unwrap();
    assert!(made.stdout == frozen, "codecs.json differs");
}

/// `families.json` is what plain Python computes, by rules of its own.
#[test]
fn plain_python_finds_the_same_rows_of_families() {
    let Some(mut oracle) = python_with("vectors/make_families.py", &["json"]) else {
        return;
    };
    let made = oracle.output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let frozen = fs::read(format_spec().join("vectors/families.json")).unwrap();
    assert!(made.stdout == frozen, "families.json differs");
}

#[test]
fn the_python_reader_refuses_what_ours_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let shard = "layer-01/order-2-head-0.shard";
    let damages = [
        ("manifest.json", 100),
        ("token_map.u32le", 9),
        (shard, 9),
        (shard, 2_000),
        (shard, 4_096 + 80 + 7),
        (shard, 4_096 + 80 + 68),
        (shard, 8_191),
    ];
    for (index, (name, offset)) in damages.into_iter().enumerate() {
        let Some(mut reader) = python("reader.py") else {
            return;
        };
        let pack = folder.path().join(index.to_string());
        for (path, mut bytes) in files(&format_spec().join("vectors/deepseek")) {
            if path.as_os_str() == name {
                bytes[offset] ^= 1;
            }
            fs::create_dir_all(pack.join(&path).parent().unwrap()).unwrap();
            fs::write(pack.join(path), bytes).unwrap();
        }
        let checked = reader.arg(&pack).arg("verify").output().unwrap();
        assert_eq!(
            checked.status.code(),
            Some(1),
            "{name} at {offset}: {checked:?}"
        );
        let ours = verify(&pack, &VerifyOptions::default(), &|_| ());
        assert!(
            ours.is_err() || !ours.unwrap().damage.is_empty(),
            "{name} at {offset}"
        );
    }
}

/// A pack of the vectors whose manifest was edited by someone who recomputed the checksum.
fn forged(name: &str, from: &str, to: &str, pack: &Path) {
    for (path, bytes) in files(&format_spec().join("vectors").join(name)) {
        fs::create_dir_all(pack.join(&path).parent().unwrap()).unwrap();
        fs::write(pack.join(path), bytes).unwrap();
    }
    let manifest = pack.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    assert!(text.contains(from), "{name} has no {from}");
    let text = text.replace(from, to);
    let checksum_at = "{\"checksum\":\"".len();
    let (stored, rest) = text.split_at(checksum_at + 32);
    let body = format!("{{{}", &rest[2..rest.len() - 1]);
    let digest = Digest::of(body.as_bytes());
    fs::write(
        manifest,
        format!("{}{digest}{rest}", &stored[..checksum_at]),
    )
    .unwrap();
}

/// Packs, a part of their manifests, and what takes its place.
const CASES: [(&str, &str, &str); 43] = [
    ("deepseek", r#""boundary":null,"#, ""),
    ("deepseek", r#""boundary":null"#, r#""boundary":[]"#),
    ("deepseek", r#""compressed":true"#, r#""compressed":1"#),
    ("deepseek", r#""fill":1"#, r#""fill":40"#),
    ("deepseek", r#""fill":1"#, r#""fill":-1"#),
    ("deepseek", r#""heads":2"#, r#""heads":0"#),
    ("deepseek", r#""heads":2"#, r#""heads":"2""#),
    ("deepseek", r#""max_order":3"#, r#""max_order":9"#),
    ("deepseek", r#""name":"deepseek-v4.1-flash""#, r#""name":5"#),
    ("deepseek", r#""layer":3"#, r#""layer":1"#),
    ("deepseek", r#""layer":3"#, r#""layer":65536"#),
    ("deepseek", "189840691535365831", "18984069153536583100"),
    ("deepseek", "[23,29,31,37]", "[23,29,31]"),
    ("deepseek", "[23,29,31,37]", "[23,29,31,0]"),
    (
        "deepseek",
        r#""layer":1,"row_count":120"#,
        r#""layer":1,"row_count":119"#,
    ),
    (
        "deepseek",
        r#""layer":1,"row_count":120"#,
        r#""layer":1,"row_count":121"#,
    ),
    ("deepseek", r#""source":1"#, r#""source":2"#),
    ("deepseek", r#""offset":560"#, r#""offset":33000"#),
    (
        "deepseek",
        r#""tensor":"layers.1.engram.embed.scale""#,
        r#""tensor":null"#,
    ),
    ("deepseek", "model-00001-of-00002.safetensors", "../model"),
    ("deepseek", r#"{"kind":"packed"}"#, r#"{"kind":"attached"}"#),
    (
        "deepseek",
        r#"{"kind":"packed"}"#,
        r#"{"extra":1,"kind":"packed"}"#,
    ),
    ("deepseek", r#""width":64"#, r#""width":0"#),
    ("deepseek", r#""group":32"#, r#""group":48"#),
    ("qwen", "fp8_e4m3_scaled", "fp8_e9m9_scaled"),
    (
        "demo",
        r#"{"name":"f32","width":16}"#,
        r#"{"name":"q8_0","width":16}"#,
    ),
    (
        "demo",
        r#"{"name":"f32","width":16}"#,
        r#"{"group":0,"name":"int8","scale":"f16","width":16}"#,
    ),
    (
        "demo",
        r#"{"name":"f32","width":16}"#,
        r#"{"group":16,"name":"int8","scale":"f8","width":16}"#,
    ),
    ("deepseek", r#""entries":60"#, r#""entries":61"#),
    (
        "deepseek",
        r#""samples":[]"#,
        r#""samples":[{"row":0,"seal":0}]"#,
    ),
    ("deepseek", r#""version":1"#, r#""version":4"#),
    ("deepseek", r#""version":1"#, r#""version":3"#),
    (
        "deepseek",
        r#"{"kind":"packed"}"#,
        r#"{"kind":"cold","tables":[]}"#,
    ),
    ("cold/deepseek", r#""version":3"#, r#""version":1"#),
    ("cold/deepseek", r#""frame_rows":51"#, r#""frame_rows":50"#),
    ("cold/deepseek", r#""frame_rows":51"#, r#""frame_rows":0"#),
    ("cold/deepseek", r#""frame_rows":51"#, r#""frame_rows":102"#),
    (
        "cold/deepseek",
        r#""dictionary_bytes":0"#,
        r#""dictionary_bytes":1"#,
    ),
    (
        "cold/deepseek",
        r#""dictionary_bytes":0"#,
        r#""dictionary_bytes":1048577"#,
    ),
    (
        "cold/deepseek",
        r#""kind":"cold""#,
        r#""extra":1,"kind":"cold""#,
    ),
    ("longcat", r#""base":64"#, r#""base":4294967296"#),
    ("longcat", r#""rule":"dead""#, r#""rule":"other""#),
    (
        "longcat",
        r#""hashed_vocab_size":64"#,
        r#""hashed_vocab_size":4294967295"#,
    ),
];

#[test]
fn both_readers_refuse_the_same_forged_manifests() {
    let folder = tempfile::tempdir().unwrap();
    for (index, (name, from, to)) in CASES.into_iter().enumerate() {
        let pack = folder.path().join(index.to_string());
        forged(name, from, to, &pack);
        let ours = Store::open(&pack, Config::new())
            .err()
            .unwrap_or_else(|| panic!("{from} to {to} opens"))
            .to_string();
        assert!(!ours.contains("checksum"), "{from} to {to}: {ours}");
        let Some(mut reader) = python("reader.py") else {
            continue;
        };
        let refused = reader.arg(&pack).arg("verify").output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(
            refused.status.code() == Some(1) && said.starts_with("error:"),
            "{from} to {to}: {refused:?}"
        );
        assert!(!said.contains("checksum"), "{from} to {to}: {said}");
    }
    let pack = folder.path().join("unchanged");
    forged("deepseek", r#""fill":1"#, r#""fill":1"#, &pack);
    Store::open(&pack, Config::new()).unwrap();
}
