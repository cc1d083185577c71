//! Checkpoints that are cut, rearranged or wrong about themselves give an error that says so.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use engram::{Config, LayerId, Store};
use engram_checkpoint::Checkpoint;
use engram_pack::{BuildOptions, build};
use engram_tests::{
    Fixture, READERS, make_checkpoint, make_pack, open, small_family, tensor_files, whole_tables,
};
use serde_json::{Value, json};

const VALUES: &str = "layers.1.engram.embed.weight";
const SCALES: &str = "layers.1.engram.embed.scale";

/// A checkpoint of the family, in a folder that goes with the first value.
fn checkpoint(family: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    make_checkpoint(&small_family(family), 1, &path);
    (folder, path)
}

fn tensor_file(checkpoint: &Path) -> PathBuf {
    checkpoint.join("model-00001-of-00002.safetensors")
}

fn refusal(checkpoint: &Path) -> String {
    Checkpoint::open(checkpoint, None).unwrap_err().to_string()
}

fn read_header(file: &Path) -> (Value, Vec<u8>) {
    let bytes = fs::read(file).unwrap();
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    (
        serde_json::from_slice(&bytes[8..8 + length]).unwrap(),
        bytes[8 + length..].to_vec(),
    )
}

fn write_header(file: &Path, header: &str, data: &[u8]) {
    let length = (header.len() as u64).to_le_bytes();
    fs::write(file, [&length, header.as_bytes(), data].concat()).unwrap();
}

fn edit_header(file: &Path, edit: impl FnOnce(&mut Value)) {
    let (mut header, data) = read_header(file);
    edit(&mut header);
    write_header(file, &header.to_string(), &data);
}

fn edit_json(file: &Path, edit: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    edit(&mut json);
    fs::write(file, json.to_string()).unwrap();
}

#[test]
fn headers_that_lie_are_refused() {
    type Edit = fn(&mut Value);
    let edits: [(Edit, &str); 9] = [
        (|h| h[VALUES]["data_offsets"][1] = json!(5), "invalid"),
        (|h| h[VALUES]["data_offsets"] = json!([64, 0]), "invalid"),
        (
            |h| h[VALUES]["data_offsets"] = json!([0, -1]),
            "invalid value",
        ),
        (|h| h[VALUES]["shape"] = json!([1, 1]), "invalid"),
        (
            |h| h[VALUES]["shape"] = json!([u64::MAX, u64::MAX]),
            "overflow",
        ),
        (|h| h[VALUES]["dtype"] = json!("F9"), "unknown variant"),
        (|h| h[VALUES]["dtype"] = json!("F32"), "invalid"),
        (
            |h| {
                _ = h
                    .as_object_mut()
                    .unwrap()
                    .remove("layers.1.engram.k_weight")
            },
            "bytes, the file has",
        ),
        (|h| *h = json!([]), "invalid type"),
    ];
    for (edit, expected) in edits {
        let (_folder, checkpoint) = checkpoint("deepseek");
        edit_header(&tensor_file(&checkpoint), edit);
        let refused = refusal(&checkpoint);
        assert!(
            refused.contains("model-00001-of-00002.safetensors: safetensors header"),
            "{refused}"
        );
        assert!(
            refused.to_lowercase().contains(expected),
            "`{refused}` lacks `{expected}`"
        );
    }
}

#[test]
fn cut_and_oversized_files_are_refused() {
    let (_folder, checkpoint) = checkpoint("deepseek");
    let file = tensor_file(&checkpoint);
    let sound = fs::read(&file).unwrap();
    let length = u64::from_le_bytes(sound[..8].try_into().unwrap());
    let cases = [
        (sound[..4].to_vec(), "the file has 4 bytes"),
        (sound[..100].to_vec(), "at most 92 are possible"),
        (sound[..sound.len() - 1].to_vec(), "bytes, the file has"),
        ([&sound[..], b"\0"].concat(), "bytes, the file has"),
        (
            [&u64::MAX.to_le_bytes(), &sound[8..]].concat(),
            "its length is 18446744073709551615",
        ),
        (
            [&200_000_000_u64.to_le_bytes(), &sound[8..]].concat(),
            "its length is 200000000",
        ),
        (
            [&(length - 1).to_le_bytes(), &sound[8..]].concat(),
            "safetensors header",
        ),
        (
            [&sound[..8], b"\xFF\xFF", &sound[10..]].concat(),
            "safetensors header",
        ),
    ];
    for (bytes, expected) in cases {
        fs::write(&file, bytes).unwrap();
        let refused = refusal(&checkpoint);
        assert!(refused.contains(expected), "`{refused}` lacks `{expected}`");
    }
}

#[test]
fn every_cut_of_a_header_is_refused_without_a_panic() {
    let (_folder, checkpoint) = checkpoint("deepseek");
    let file = tensor_file(&checkpoint);
    let sound = fs::read(&file).unwrap();
    for len in 0..600 {
        fs::write(&file, &sound[..len]).unwrap();
        assert!(Checkpoint::open(&checkpoint, None).is_err(), "{len} bytes");
    }
}

#[test]
fn headers_in_another_order_give_the_same_rows() {
    let fixture = Fixture::new("deepseek");
    let expected = whole_tables(&open(&fixture.pack(), READERS[0]));
    let file = tensor_file(&fixture.checkpoint());
    let (header, data) = read_header(&file);
    let fields: Vec<String> = header
        .as_object()
        .unwrap()
        .iter()
        .rev()
        .map(|(k, v)| format!("{k:?}: {v}"))
        .collect();
    write_header(
        &file,
        &format!("{{ \"__metadata__\": {{}}, {} }}  ", fields.join(", ")),
        &data,
    );
    let pack = fixture.folder().join("again");
    make_pack(&fixture.checkpoint(), &pack);
    assert!(whole_tables(&open(&pack, READERS[0])) == expected);
}

#[test]
fn an_index_that_lies_is_refused() {
    let index = "model.safetensors.index.json";
    let cases = [
        (
            json!("model-00002-of-00002.safetensors"),
            "but it is in model-00001-of-00002.safetensors",
        ),
        (json!("../elsewhere.safetensors"), "outside the checkpoint"),
        (json!("missing.safetensors"), "cannot open"),
        (json!(7), "invalid type"),
    ];
    for (file, expected) in cases {
        let (_folder, checkpoint) = checkpoint("deepseek");
        edit_json(&checkpoint.join(index), |json| {
            json["weight_map"][VALUES] = file
        });
        let refused = refusal(&checkpoint);
        assert!(refused.contains(expected), "`{refused}` lacks `{expected}`");
    }
    let (_folder, checkpoint) = checkpoint("deepseek");
    edit_header(&tensor_file(&checkpoint), |header| {
        rename(header, VALUES, "other")
    });
    assert!(refusal(&checkpoint).contains("but it is nowhere"));
    // Without an index all files are looked through.
    fs::remove_file(checkpoint.join(index)).unwrap();
    assert!(refusal(&checkpoint).contains("no tensor named"));
    for file in tensor_files(&checkpoint) {
        fs::remove_file(file).unwrap();
    }
    assert!(refusal(&checkpoint).contains(index));
}

#[test]
fn tensors_of_another_kind_are_refused() {
    type Edit = fn(&mut Value);
    let edits: [(Edit, &str); 7] = [
        (
            |h| rename(h, VALUES, "other"),
            "no tensor named `layers.1.engram.embed.weight`",
        ),
        (
            |h| rename(h, SCALES, "other"),
            "no tensor named `layers.1.engram.embed.scale`",
        ),
        (
            |h| h[VALUES]["dtype"] = json!("I8"),
            "dtype is F8_E8M0, expected F32, F16 or BF16",
        ),
        (
            |h| h[VALUES]["dtype"] = json!("F8_E5M2"),
            "dtype is F8_E5M2, expected F32, F16, BF16 or F8_E4M3",
        ),
        (
            |h| h[SCALES]["dtype"] = json!("I8"),
            "dtype is I8, expected F8_E8M0",
        ),
        (
            |h| halve(&mut h[VALUES]["shape"]),
            "width is 32, expected 64",
        ),
        (|h| halve(&mut h[SCALES]["shape"]), "rows is"),
    ];
    for (edit, expected) in edits {
        let (_folder, checkpoint) = checkpoint("deepseek");
        edit_header(&tensor_file(&checkpoint), edit);
        fs::remove_file(checkpoint.join("model.safetensors.index.json")).unwrap();
        fs::rename(
            tensor_file(&checkpoint),
            checkpoint.join("model.safetensors"),
        )
        .unwrap();
        let refused = refusal(&checkpoint);
        assert!(refused.contains(expected), "`{refused}` lacks `{expected}`");
    }
}

fn rename(header: &mut Value, from: &str, to: &str) {
    let fields = header.as_object_mut().unwrap();
    let tensor = fields.remove(from).unwrap();
    fields.insert(to.into(), tensor);
}

/// Twice the rows of half the width.
fn halve(shape: &mut Value) {
    *shape = json!([
        2 * shape[0].as_u64().unwrap(),
        shape[1].as_u64().unwrap() / 2
    ]);
}

#[test]
fn a_table_of_another_size_is_refused_with_both_numbers() {
    for (name, field, value) in [
        ("deepseek", "engram_vocab_size", json!(24)),
        ("demo", "engram_vocab_size", json!([31, 54])),
        ("qwen", "ngram_vocab_size_base", json!(60)),
        ("longcat", "ngram_vocab_size_ratio", json!(1)),
    ] {
        let (_folder, path) = checkpoint(name);
        let sound = Checkpoint::open(&path, None).unwrap();
        let in_checkpoint = sound.scheme.layers[0].row_count;
        edit_json(&path.join("config.json"), |json| {
            let scope = if json.get("text_config").is_some() {
                &mut json["text_config"]
            } else {
                json
            };
            scope[field] = value;
            scope
                .as_object_mut()
                .unwrap()
                .remove("engram_num_embeddings");
        });
        let refused = refusal(&path);
        let both = format!(
            "the checkpoint's table has {in_checkpoint} rows, the columns of the scheme have"
        );
        assert!(refused.contains(&both), "{name}: {refused}");
    }
    let (_folder, checkpoint) = checkpoint("deepseek");
    edit_json(&checkpoint.join("config.json"), |json| {
        json["text_config"]["engram_num_embeddings"][1] = json!(5)
    });
    assert!(refusal(&checkpoint).contains("engram_num_embeddings of a layer is 5, expected"));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn configurations_that_make_no_sense_are_refused() {
    let missing = Value::Null;
    let cases = [
        (
            "deepseek",
            "engram_layer_ids",
            json!("1"),
            "`engram_layer_ids` is \"1\", expected a list",
        ),
        (
            "deepseek",
            "engram_n_heads",
            missing.clone(),
            "`engram_n_heads` is missing",
        ),
        ("deepseek", "engram_n_heads", json!(0), "heads is 0"),
        (
            "deepseek",
            "engram_max_ngram_size",
            json!(1),
            "max_order is 1",
        ),
        (
            "deepseek",
            "engram_max_ngram_size",
            json!(4_000_000_000_u32),
            "max_order is",
        ),
        (
            "deepseek",
            "engram_vocab_size",
            json!(u64::MAX),
            "bucket start is",
        ),
        (
            "deepseek",
            "engram_head_dim",
            json!(-1),
            "`engram_head_dim` is -1",
        ),
        (
            "deepseek",
            "engram_pad_token_id",
            json!(60),
            "pad token is 60, expected below the 60 tokens",
        ),
        (
            "deepseek",
            "engram_compressed_vocab_size",
            json!(41),
            "is 40, expected 41",
        ),
        (
            "demo",
            "n_head_per_ngram",
            json!(3),
            "`n_embed_per_ngram` is 32, expected a multiple of the 3 heads",
        ),
        (
            "demo",
            "max_ngram_size",
            json!(4),
            "`engram_vocab_size` is 2 numbers",
        ),
        (
            "qwen",
            "ple_layer_ids",
            json!([0]),
            "ids that count from one",
        ),
        (
            "qwen",
            "split_ngram_parts",
            json!(0),
            "`split_ngram_parts` is 0",
        ),
        (
            "qwen",
            "split_ngram_parts",
            json!(65_537),
            "`split_ngram_parts` is 65537, expected 1 to 65536",
        ),
        (
            "qwen",
            "ple_layer_ids",
            json!((1..=1_025).collect::<Vec<u32>>()),
            "layers is 1025",
        ),
        ("qwen", "ple_embed_dim", json!(63), "`ple_embed_dim` is 63"),
        (
            "longcat",
            "ngram_vocab_size_ratio",
            json!(1e300),
            "`ngram_vocab_size_ratio` is",
        ),
        (
            "longcat",
            "emb_split_num",
            json!(7),
            "`hidden_size` is 96, expected a multiple of the 14 columns",
        ),
        ("longcat", "vocab_size", missing, "`vocab_size` is missing"),
    ];
    for (name, field, value, expected) in cases {
        let (_folder, checkpoint) = checkpoint(name);
        edit_json(&checkpoint.join("config.json"), |json| {
            let scope = if json.get("text_config").is_some() {
                &mut json["text_config"]
            } else {
                json
            };
            scope[field] = value;
        });
        let refused = refusal(&checkpoint);
        assert!(
            refused.contains("config.json") && refused.contains(expected),
            "`{refused}` lacks `{expected}`"
        );
    }
    let (_folder, deepseek) = checkpoint("deepseek");
    edit_json(&deepseek.join("config.json"), |json| {
        json["text_config"]["engram_head_dim"] = 0.into();
    });
    let refused = refusal(&deepseek);
    assert!(refused.contains("width is 0"), "{refused}");
    let (_folder, checkpoint) = checkpoint("demo");
    fs::write(checkpoint.join("config.json"), r#"{"model_type":"llama"}"#).unwrap();
    assert!(refusal(&checkpoint).contains("without n-gram fields"));
    fs::write(checkpoint.join("config.json"), "{").unwrap();
    assert!(refusal(&checkpoint).contains("config.json: EOF"));
}

#[test]
fn token_maps_that_make_no_sense_are_refused() {
    let (_folder, checkpoint) = checkpoint("deepseek");
    let map = checkpoint.join("token_map.u32le");
    fs::write(&map, [1, 2, 3]).unwrap();
    assert!(
        refusal(&checkpoint)
            .contains("token_map.u32le: token map: 3 bytes, expected a multiple of 4")
    );
    fs::write(&map, []).unwrap();
    assert!(refusal(&checkpoint).contains("the file is empty"));
    fs::write(checkpoint.join("tokenizer.json"), "{}").unwrap();
    assert!(refusal(&checkpoint).contains("tokenizer.json: no tokenizer"));
    fs::remove_file(checkpoint.join("tokenizer.json")).unwrap();
    fs::remove_file(map).unwrap();
    assert!(refusal(&checkpoint).contains("neither tokenizer.json nor token_map.u32le"));
}

#[test]
fn a_tokenizer_for_raw_ids_is_refused() {
    let (_folder, checkpoint) = checkpoint("qwen");
    let refused = Checkpoint::open(&checkpoint, Some(Path::new("tokenizer.json"))).unwrap_err();
    let refused = refused.to_string();
    assert!(
        refused.contains("`qwen3.8-flash-next` hashes raw ids and takes no token map"),
        "{refused}"
    );
}

#[test]
fn constants_stored_in_a_qwen_checkpoint_must_be_ours() {
    let name = "model.language_model.layers.1.ple.ple_embedding.layer_multipliers";
    let (_folder, checkpoint) = checkpoint("qwen");
    let engram_format::HashRule::XorMultiply { multipliers } =
        Checkpoint::open(&checkpoint, None).unwrap().scheme.layers[0]
            .hash
            .clone()
    else {
        panic!("Qwen hashes by multiplication");
    };
    let file = checkpoint.join("model-00004-of-00004.safetensors");
    let (sound, data) = read_header(&file);
    for wrong in [0, 1] {
        let mut header = sound.clone();
        header[name] =
            json!({ "dtype": "I64", "shape": [3], "data_offsets": [data.len(), data.len() + 24] });
        let stored = multipliers.iter().flat_map(|m| (m + wrong).to_le_bytes());
        write_header(
            &file,
            &header.to_string(),
            &data.iter().copied().chain(stored).collect::<Vec<_>>(),
        );
        match Checkpoint::open(&checkpoint, None) {
            Ok(_) => assert_eq!(wrong, 0),
            Err(refused) => {
                assert_eq!(wrong, 1, "{refused}");
                assert!(
                    refused
                        .to_string()
                        .contains(&format!("`{name}`: values is")),
                    "{refused}"
                );
            }
        }
    }
}

#[test]
fn values_that_are_no_numbers_are_refused_unless_allowed() {
    for (tensor, code, what) in [
        (VALUES, 0x7F, "value 5 of row 2"),
        (SCALES, 0xFF, "scale 1 of row 2"),
    ] {
        let (folder, path) = checkpoint("deepseek");
        let file = tensor_file(&path);
        let (header, mut data) = read_header(&file);
        let start = usize::try_from(header[tensor]["data_offsets"][0].as_u64().unwrap()).unwrap();
        let at = if tensor == VALUES {
            start + 2 * 64 + 5
        } else {
            start + 2 * 2 + 1
        };
        data[at] = code;
        write_header(&file, &header.to_string(), &data);

        let opened = Checkpoint::open(&path, None).unwrap();
        let pack = folder.path().join("pack");
        let refused = build(&opened, &pack, &BuildOptions::default(), &|_| ()).unwrap_err();
        let refused = format!("{refused:#}");
        assert!(
            refused.contains(tensor) && refused.contains(what),
            "{refused}"
        );
        assert!(
            Store::open(&pack, Config::new()).is_err(),
            "an unfinished pack opens"
        );

        let allowed = BuildOptions {
            allow_nan: true,
            resume: true,
            ..BuildOptions::default()
        };
        build(&opened, &pack, &allowed, &|_| ()).unwrap();
        let store = open(&pack, READERS[2]);
        let row = whole_tables(&store)[0][2 * 66..3 * 66].to_vec();
        let mut values = [0.0; 64];
        store
            .codec(LayerId(1))
            .unwrap()
            .decode_f32(&row, &mut values);
        let nans = values.iter().filter(|value| value.is_nan()).count();
        assert_eq!(nans, if tensor == VALUES { 1 } else { 32 });
    }
}
