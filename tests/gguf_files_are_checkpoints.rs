//! Tables in GGUF files are attached to and packed as those in safetensors are, and files that lie are refused.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use engram::{RowCodec, Store};
use engram_checkpoint::{Checkpoint, CheckpointError};
use engram_format::Scheme;
use engram_pack::{BuildOptions, VerifyOptions, attach, build, verify};
use engram_tests::{
    Fixture, Gguf, GgufValue, READERS, TYPES, files, open, python, python_with, small_family,
    whole_tables,
};
use serde_json::Value;

const WIDTH: u32 = 256;

fn qwen_scheme() -> Scheme {
    small_family("qwen").scheme(None).unwrap()
}

/// The codec of a type, by its name.
fn codec(type_name: &str) -> RowCodec {
    let (width, scale_bits) = (WIDTH, 1.0_f32.to_bits());
    match type_name {
        "F32" => RowCodec::F32 { width },
        "F16" => RowCodec::F16 { width },
        "BF16" => RowCodec::Bf16 { width },
        "Q8_0" => RowCodec::Q8_0 { width },
        "Q4_0" => RowCodec::Q4_0 { width },
        "IQ4_NL" => RowCodec::Iq4Nl { width },
        "MXFP4" => RowCodec::Mxfp4Gguf { width },
        "NVFP4" => RowCodec::Nvfp4Gguf { width, scale_bits },
        "Q4_K" => RowCodec::Q4K { width },
        "Q5_K" => RowCodec::Q5K { width },
        _ => unreachable!("a type that is read"),
    }
}

/// A file of Qwen's with rows of that type.
fn qwen(type_name: &str) -> Gguf {
    let (_, id) = *TYPES.iter().find(|(name, _)| *name == type_name).unwrap();
    let row_bytes = codec(type_name).row_bytes();
    Gguf::qwen(&qwen_scheme(), id, WIDTH.into(), row_bytes)
}

/// Attaches to `file` and packs it; both packs must be sound and have the same rows, which are given back.
fn rows_of_both(file: &Path, folder: &Path) -> (Store, Vec<Vec<u8>>) {
    let checkpoint = Checkpoint::open(file, None).unwrap();
    let [attached, packed] = ["attached", "packed"].map(|name| folder.join(name));
    attach(&checkpoint, &attached).unwrap();
    build(&checkpoint, &packed, &BuildOptions::default(), &|_| ()).unwrap();
    let expected = whole_tables(&open(&packed, READERS[0]));
    for pack in [&attached, &packed] {
        let report = verify(pack, &VerifyOptions::default(), &|_| ()).unwrap();
        assert!(report.damage.is_empty(), "{}", pack.display());
        if let Some(mut reader) = python("reader.py") {
            let checked = reader.arg(pack).arg("verify").output().unwrap();
            assert!(checked.status.success(), "{checked:?}");
        }
    }
    for reader in READERS {
        assert!(
            whole_tables(&open(&attached, reader)) == expected,
            "{reader:?}"
        );
    }
    (open(&attached, READERS[0]), expected)
}

#[test]
fn rows_of_every_type_are_those_of_the_file() {
    for (type_name, _) in TYPES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let mut file = qwen(type_name);
        file.write(&path);
        let (store, rows) = rows_of_both(&path, folder.path());
        let layer = store.scheme().layers[0].id;
        assert_eq!(store.codec(layer).unwrap(), codec(type_name));
        assert_eq!(
            store.scheme(),
            &qwen_scheme(),
            "the keys say what the family derives"
        );
        assert!(file.table().data.starts_with(&rows[0]), "{type_name}");
    }
}

/// A file of Gemma's with rows of that type.
fn gemma(type_name: &str, architecture: &str) -> Gguf {
    let (_, id) = *TYPES.iter().find(|(name, _)| *name == type_name).unwrap();
    let row_bytes = codec(type_name).row_bytes();
    Gguf::gemma(architecture, id, WIDTH.into(), 90, row_bytes)
}

#[test]
fn per_layer_embeddings_of_every_type_are_those_of_the_file() {
    for (type_name, _) in TYPES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let mut file = gemma(type_name, "gemma4");
        file.write(&path);
        let (store, rows) = rows_of_both(&path, folder.path());
        let layer = store.scheme().layers[0].id;
        assert_eq!(store.codec(layer).unwrap(), codec(type_name));
        assert_eq!(store.scheme().name, "gemma-4");
        assert!(
            file.table().data == rows[0],
            "{type_name}: all rows are tokens'"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    gemma("Q8_0", "gemma3n").write(&path);
    let scheme = Checkpoint::open(&path, None).unwrap().scheme;
    assert_eq!((scheme.name.as_str(), scheme.max_order), ("gemma-3n", 1));
}

#[test]
fn per_layer_embeddings_that_lie_are_refused_by_what_is_wrong() {
    const WIDTH_KEY: &str = "gemma4.embedding_length_per_layer_input";
    const LIES: [Lie; 6] = [
        (
            |f| f.set("gemma4.block_count", GgufValue::U32(3)),
            "is 256, expected 384: 128 for each of 3 layers",
        ),
        (
            |f| f.remove("gemma4.block_count"),
            "no key `gemma4.block_count`",
        ),
        (
            |f| f.set(WIDTH_KEY, GgufValue::U32(0)),
            "has no table that is known",
        ),
        (|f| f.set(WIDTH_KEY, GgufValue::F32(1.5)), "a whole number"),
        (
            |f| f.table().name = "per_layer.weight".into(),
            "no tensor `per_layer_token_embd.weight`",
        ),
        (|f| f.table().type_id = 43, "has type 43, expected F32"),
    ];
    refuse_each_of(|| gemma("Q8_0", "gemma4"), &LIES);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    gemma("Q8_0", "gemma4").write(&path);
    let refused = Checkpoint::open(&path, Some(Path::new("map.u32le"))).unwrap_err();
    assert!(
        refused.to_string().contains("takes no token map"),
        "{refused}"
    );
}

#[test]
fn a_scale_of_the_whole_table_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut file = qwen("NVFP4");
    let scale = 0.75_f32.to_le_bytes().to_vec();
    file.add("per_layer_token_embd.scale", &[1], 0, scale);
    file.write(&path);
    let (store, _) = rows_of_both(&path, folder.path());
    let expected = RowCodec::Nvfp4Gguf {
        width: WIDTH,
        scale_bits: 0.75_f32.to_bits(),
    };
    assert_eq!(store.codec(store.scheme().layers[0].id).unwrap(), expected);
}

#[test]
fn a_scale_of_the_whole_table_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let cases: [(&[u64], u32, &[u8], &str); 3] = [
        (
            &[1],
            0,
            &f32::NAN.to_le_bytes(),
            "value is NaN, expected a finite number",
        ),
        (&[2], 0, &[0; 8], "kind is F32 [2], expected F32 [1]"),
        (&[1], 1, &[0; 2], "kind is F16 [1], expected F32 [1]"),
    ];
    for (shape, type_id, bytes, expected) in cases {
        let mut file = qwen("NVFP4");
        file.add("per_layer_token_embd.scale", shape, type_id, bytes.into());
        file.write(&path);
        let refused = refusal(&path);
        assert!(refused.contains(expected), "{refused}");
    }
}

/// The tables of a small model in the layout of DeepSeek's files, from its other checkpoint.
fn deepseek(fixture: &Fixture) -> Gguf {
    let checkpoint = Checkpoint::open(&fixture.checkpoint(), None).unwrap();
    let tables = whole_tables(&open(&fixture.pack(), READERS[0]));
    let row = checkpoint.tables[0].codec.row_bytes() as u64;
    let map = checkpoint.token_map.unwrap();
    Gguf::deepseek(&checkpoint.scheme, &map, row, &tables)
}

#[test]
fn both_kinds_of_checkpoint_give_the_same_shards() {
    let fixture = Fixture::new("deepseek");
    let path = fixture.folder().join("model.gguf");
    let shards = |pack: PathBuf| -> Vec<_> {
        let is_shard = |path: &Path| path.as_os_str() != "manifest.json";
        let files = files(&pack).into_iter();
        files.filter(|(path, _)| is_shard(path)).collect()
    };
    let expected = shards(fixture.pack());
    let mut file = deepseek(&fixture);
    file.write(&path);
    let (_, rows) = rows_of_both(&path, fixture.folder());
    assert!(rows == whole_tables(&open(&fixture.pack(), READERS[0])));
    assert!(shards(fixture.folder().join("packed")) == expected);

    // The other converter writes fewer keys, and padding is left out.
    for key in ["head_count", "max_ngram_size", "offsets"] {
        file.remove(&format!("deepseek41.engram.{key}"));
    }
    let encoding = GgufValue::Text("e4m3_e8m0_32_row264".into());
    file.set("deepseek41.engram.encoding", encoding);
    let row = file.table().shape[0];
    file.table().shape[1] += 5;
    let padded = file.table().data.len() + 5 * usize::try_from(row).unwrap();
    file.table().data.resize(padded, 0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.gguf");
    file.write(&path);
    assert_eq!(Checkpoint::open(&path, None).unwrap().padding_rows(), 5);
    rows_of_both(&path, folder.path());
    assert!(shards(folder.path().join("packed")) == expected);
}

#[test]
fn parts_of_a_split_file_are_one_model() {
    let folder = tempfile::tempdir().unwrap();
    let whole = qwen("Q8_0");
    let part = |number: u32, keys: bool, tensors: std::ops::Range<usize>| {
        let mut part = Gguf {
            keys: if keys { whole.keys.clone() } else { vec![] },
            tensors: whole.tensors[tensors].to_vec(),
            ..Gguf::default()
        };
        part.set("split.no", GgufValue::U32(number));
        part.set("split.count", GgufValue::U32(3));
        part
    };
    let path = |number: u32| {
        folder
            .path()
            .join(format!("model-{number:05}-of-00003.gguf"))
    };
    let parts = [
        part(0, true, 0..0),
        part(1, false, 0..1),
        part(2, false, 1..2),
    ];
    for (number, part) in (1..).zip(&parts) {
        part.write(&path(number));
    }
    // Any part will do, and one that holds no table need not be there.
    fs::remove_file(path(2)).unwrap();
    let (_, rows) = rows_of_both(&path(3), folder.path());
    assert!(whole.tensors[1].data.starts_with(&rows[0]));
    fs::rename(path(3), path(2)).unwrap();
    let refused = Checkpoint::open(&path(1), None).unwrap_err().to_string();
    assert!(
        refused.contains("`split.no` is 2, expected 1, by its name"),
        "{refused}"
    );
    fs::remove_file(path(2)).unwrap();
    let refused = Checkpoint::open(&path(1), None).unwrap_err().to_string();
    let names = "`model-00002-of-00003.gguf`, `model-00003-of-00003.gguf` is not there";
    assert!(refused.contains(names), "{refused}");
}

/// Why the file at `path` is refused; it must be as what it is.
fn refusal(path: &Path) -> String {
    match Checkpoint::open(path, None).unwrap_err() {
        error @ (CheckpointError::Gguf { .. }
        | CheckpointError::Scheme { .. }
        | CheckpointError::RowCount { .. }
        | CheckpointError::TokenMap { .. }) => error.to_string(),
        other => panic!("another kind of error: {other:?}"),
    }
}

/// A change of a file, and what the error says of it; nothing where the file is still sound.
type Lie = (fn(&mut Gguf), &'static str);

/// Checks that a file of Qwen's is refused after each of the changes.
fn refuse_each(lies: &[Lie]) {
    refuse_each_of(|| qwen("Q8_0"), lies);
}

fn refuse_each_of(file: impl Fn() -> Gguf, lies: &[Lie]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    for (index, (edit, expected)) in lies.iter().enumerate() {
        let mut file = file();
        edit(&mut file);
        file.write(&path);
        if expected.is_empty() {
            Checkpoint::open(&path, None).unwrap();
            continue;
        }
        let refused = refusal(&path);
        assert!(refused.contains(expected), "case {index}: {refused}");
        assert!(refused.contains("model.gguf"), "{refused}");
    }
}

#[test]
fn headers_that_lie_are_refused_by_what_is_wrong() {
    const LIES: [Lie; 11] = [
        (|f| f.magic = *b"GGML", "expected `GGUF`"),
        (|f| f.version = 1, "GGUF version 1, expected 2 or 3"),
        (|f| f.version = 3 << 24, "it may be big-endian"),
        (|f| f.key_count = Some(u64::MAX), "the header wants"),
        (|f| f.tensor_count = Some(u64::MAX), "the header wants"),
        (|f| f.key_count = Some(3), "tensor"),
        (|f| f.keys.push(f.keys[3].clone()), "is there twice"),
        (|f| f.keys.push(("x".into(), f.keys[1].1.clone())), ""),
        (|f| f.tensors.push(f.tensors[0].clone()), "is there twice"),
        (
            |f| f.set("general.alignment", GgufValue::U32(48)),
            "a power of two",
        ),
        (
            |f| f.set("general.alignment", GgufValue::U32(0)),
            "a power of two",
        ),
    ];
    refuse_each(&LIES);
}

#[test]
fn keys_that_lie_are_refused_by_what_is_wrong() {
    const KEY: &str = "qwen4exp.ple.head_vocab_sizes";
    const LIES: [Lie; 12] = [
        (
            |f| f.set("general.architecture", GgufValue::U32(1)),
            "expected a text",
        ),
        (
            |f| f.set("general.architecture", GgufValue::Text("llama".into())),
            "`llama.ple.layers`",
        ),
        (
            |f| f.remove("general.architecture"),
            "no key `general.architecture`",
        ),
        (
            |f| f.remove("qwen4exp.ple.eos_token_id"),
            "no key `qwen4exp.ple.eos_token_id`",
        ),
        (
            |f| f.set(KEY, GgufValue::U64s(vec![7; 3])),
            "a list of 3, expected a list of 4",
        ),
        (
            |f| f.set(KEY, GgufValue::U64s(vec![u64::MAX; 4])),
            "head_offsets",
        ),
        (
            |f| f.set(KEY, GgufValue::Texts(vec![])),
            "a list of whole numbers",
        ),
        (
            |f| f.set("qwen4exp.ple.layers", GgufValue::I32s(vec![-1])),
            "a list with -1",
        ),
        (
            |f| f.set("qwen4exp.ple.layers", GgufValue::I32s(vec![1, 2])),
            "expected one layer",
        ),
        (
            |f| f.set("qwen4exp.ple.ngram_size", GgufValue::U32(u32::MAX)),
            "a list of 4",
        ),
        (
            |f| f.set("qwen4exp.ple.eos_token_id", GgufValue::U32(100)),
            "fill",
        ),
        (
            |f| {
                f.set(
                    "qwen4exp.embedding_length_per_layer_input",
                    GgufValue::U32(160),
                )
            },
            "is 256, expected 160",
        ),
    ];
    refuse_each(&LIES);
}

#[test]
fn tensors_that_lie_are_refused_by_what_is_wrong() {
    const LIES: [Lie; 9] = [
        (
            |f| f.table().name = "per_layer_embd.weight".into(),
            "the nearest",
        ),
        (
            |f| {
                let rows = usize::try_from(f.table().shape[1]).unwrap();
                f.table().type_id = 14;
                f.table().data = vec![1; 210 * rows];
            },
            "has type Q6_K, expected F32",
        ),
        (|f| f.table().type_id = 43, "has type 43, expected F32"),
        (|f| f.table().shape = vec![], "1 to 4 dimensions"),
        (|f| f.table().shape = vec![1 << 32, 1 << 32], "below 2^63"),
        (|f| f.table().shape[0] = 100, "no whole blocks of Q8_0"),
        (
            |f| f.table().shape[1] *= 2,
            "its download may not be complete",
        ),
        // Another type, whose rows are shorter.
        (|f| f.table().type_id = 20, "the tensors end at byte"),
        (|f| f.table().offset = Some(0), "begins at 0, expected 96"),
    ];
    refuse_each(&LIES);
}

#[test]
fn every_cut_of_a_header_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let bytes = qwen("Q4_0").to_bytes();
    for cut in (0..4_000).step_by(7).chain([bytes.len() - 100]) {
        fs::write(&path, &bytes[..cut]).unwrap();
        assert!(Checkpoint::open(&path, None).is_err(), "{cut} bytes");
    }
    // A flipped bit may go unseen in a name, but nothing panics and nothing large is allocated.
    for at in 0..3_000 {
        for bit in [1, 0x80] {
            let mut flipped = bytes.clone();
            flipped[at] ^= bit;
            fs::write(&path, &flipped).unwrap();
            let _ = Checkpoint::open(&path, None);
        }
    }
}

#[test]
fn records_that_are_none_are_refused() {
    type Edit = fn(&mut Gguf);
    let cases: [(Edit, &str); 7] = [
        (|f| f.table().shape[0] = 65, "a multiple of 33"),
        (
            |f| {
                f.set(
                    "deepseek41.engram.encoding",
                    GgufValue::Text("lloyd4_e5m3_32_r136".into()),
                )
            },
            "expected e4m3_e8m0_32_row264",
        ),
        (
            |f| f.remove("deepseek41.engram.pad_id"),
            "no key `deepseek41.engram.pad_id`",
        ),
        (
            |f| f.set("deepseek41.engram.head_count", GgufValue::U32(3)),
            "expected 2, by",
        ),
        (
            |f| f.set("deepseek41.engram.layer_ids", GgufValue::I32s(vec![])),
            "0 layers",
        ),
        (
            |f| f.set("deepseek41.engram.token_map", GgufValue::I32s(vec![0, 40])),
            "ids below 40",
        ),
        (
            |f| f.set("deepseek41.engram.offsets", GgufValue::U64s(vec![1; 8])),
            "1 for column 0",
        ),
    ];
    let fixture = Fixture::new("deepseek");
    let path = fixture.folder().join("model.gguf");
    for (index, (edit, expected)) in cases.into_iter().enumerate() {
        let mut file = deepseek(&fixture);
        edit(&mut file);
        if index == 0 {
            let rows = file.table().shape[1];
            file.table().data = vec![1; usize::try_from(65 * rows).unwrap()];
        }
        file.write(&path);
        let refused = refusal(&path);
        assert!(refused.contains(expected), "case {index}: {refused}");
    }
}

#[test]
fn scales_that_are_not_finite_stop_a_build() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut file = qwen("Q8_0");
    // The second scale of the third row.
    let row_bytes = codec("Q8_0").row_bytes();
    file.table().data[2 * row_bytes + 34..][..2].copy_from_slice(&[0, 0x7C]);
    file.write(&path);
    let checkpoint = Checkpoint::open(&path, None).unwrap();
    let pack = folder.path().join("pack");
    let refused = build(&checkpoint, &pack, &BuildOptions::default(), &|_| ()).unwrap_err();
    let refused = format!("{refused:#}");
    assert!(
        refused.contains("row 2") && refused.contains("scale"),
        "{refused}"
    );
    fs::remove_dir_all(&pack).ok();
    let options = BuildOptions {
        allow_nan: true,
        ..BuildOptions::default()
    };
    build(&checkpoint, &pack, &options, &|_| ()).unwrap();
}

#[test]
fn an_attached_file_that_was_written_anew_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, pack) = (folder.path().join("model.gguf"), folder.path().join("pack"));
    let mut file = qwen("IQ4_NL");
    file.write(&path);
    attach(&Checkpoint::open(&path, None).unwrap(), &pack).unwrap();
    open(&pack, READERS[1]);
    file.set("qwen4exp.rope.freq_base", GgufValue::F32(2e6));
    file.write(&path);
    let refused = Store::open(&pack, engram::Config::new())
        .unwrap_err()
        .to_string();
    assert!(refused.contains("header before the tensors"), "{refused}");
}

/// Files made by GGML's own Python package, whose values it tells, too.
#[test]
fn files_of_another_writer_have_the_values_that_it_finds() {
    let Some(mut writer) = python_with("../tests/fixtures/make_gguf.py", &["gguf", "numpy"]) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let made = writer.arg(folder.path()).output().unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let mut types = Vec::new();
    for (path, expected) in files(folder.path()) {
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let file = folder.path().join(path.with_extension("gguf"));
        let place = folder.path().join(path.with_extension(""));
        fs::create_dir(&place).unwrap();
        let (store, rows) = rows_of_both(&file, &place);
        let codec = store.codec(store.scheme().layers[0].id).unwrap();
        let mut values = vec![0.0; rows[0].len() / codec.row_bytes() * codec.width()];
        codec.decode_f32(&rows[0], &mut values);
        let hex: String = rows[0].iter().map(|byte| format!("{byte:02x}")).collect();
        let bits: String = values
            .iter()
            .map(|value| format!("{:08x}", value.to_bits()))
            .collect();
        assert!(expected["rows"] == hex, "{}", path.display());
        assert!(expected["f32"] == bits, "{}", path.display());
        types.push(path);
    }
    assert_eq!(types.len(), 7, "{types:?}");
}
