//! Checkpoints as converters, downloads and people leave them give the rows that are meant, or an error that says why.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    fs,
    os::unix::fs::{FileExt, symlink},
    path::{Path, PathBuf},
};

use engram::{Config, OpenError, Store, read_manifest};
use engram_checkpoint::{Checkpoint, CheckpointError, StandIn};
use engram_format::{BoundaryRule, RowCodec, ScaleType, Storage};
use engram_pack::{AttachOptions, BuildOptions, VerifyOptions, attach, attach_with, build, verify};
use engram_tests::{
    Fixture, READERS, edit_json, make_checkpoint, open, read_header, read_tensors, small_family,
    tensor_files, whole_tables, write_header, write_tensors,
};
use serde_json::{Map, Value, json};

const INDEX: &str = "model.safetensors.index.json";
const VALUES: &str = "layers.1.engram.embed.weight";
const SCALES: &str = "layers.1.engram.embed.scale";
const QWEN_TABLE: &str = "model.language_model.layers.1.ple.ple_embedding.ngram_embedding";
const KINDS: [&str; 4] = ["demo", "deepseek", "qwen", "longcat"];

/// A checkpoint of a small family that a test changes, and the rows that it had.
struct Changed {
    fixture: Fixture,
    rows: Vec<Vec<u8>>,
}

impl Changed {
    fn new(family: &str) -> Self {
        let fixture = Fixture::new(family);
        let rows = whole_tables(&open(&fixture.pack(), READERS[0]));
        Self { fixture, rows }
    }

    fn folder(&self) -> PathBuf {
        self.fixture.checkpoint()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// The safetensors file that holds the tensor `name`.
    fn file_of(&self, name: &str) -> PathBuf {
        let files = tensor_files(&self.folder()).into_iter();
        let mut holding = files.filter(|file| read_header(file).0.contains_key(name));
        holding
            .next()
            .unwrap_or_else(|| panic!("no file holds {name}"))
    }

    fn edit_config(&self, edit: impl FnOnce(&mut Value)) {
        edit_json(&self.file("config.json"), edit);
    }

    /// As [`Self::edit_config`], of the object that the family's fields are in.
    fn edit_fields(&self, edit: impl FnOnce(&mut Map<String, Value>)) {
        self.edit_config(|json| {
            let level = match json.get("text_config") {
                Some(_) => &mut json["text_config"],
                None => json,
            };
            edit(level.as_object_mut().unwrap());
        });
    }

    /// Renames tensors, in the headers and in the index.
    fn rename(&self, rename: impl Fn(&str) -> String) {
        let renamed = |map: &Map<String, Value>| -> Map<String, Value> {
            map.iter()
                .map(|(name, value)| (rename(name), value.clone()))
                .collect()
        };
        for file in tensor_files(&self.folder()) {
            let (header, data) = read_header(&file);
            write_header(&file, &renamed(&header), &data);
        }
        edit_json(&self.file(INDEX), |json| {
            json["weight_map"] = renamed(json["weight_map"].as_object().unwrap()).into();
        });
    }

    fn error(&self) -> CheckpointError {
        Checkpoint::open(&self.folder(), None).unwrap_err()
    }

    /// Checks that a pack of the checkpoint has the rows that it had before, and returns the checkpoint.
    fn has_its_rows(&self, what: &str) -> Checkpoint {
        let checkpoint = Checkpoint::open(&self.folder(), None)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let folder = tempfile::tempdir().unwrap();
        let (pack, attached) = (folder.path().join("pack"), folder.path().join("attached"));
        build(&checkpoint, &pack, &BuildOptions::default(), &|_| ()).unwrap();
        assert!(
            whole_tables(&open(&pack, READERS[0])) == self.rows,
            "{what}"
        );
        attach(&checkpoint, &attached).unwrap();
        assert!(
            whole_tables(&open(&attached, READERS[2])) == self.rows,
            "{what}, attached"
        );
        checkpoint
    }
}

fn boundary(checkpoint: &Path) -> (Vec<u32>, BoundaryRule) {
    let boundary = Checkpoint::open(checkpoint, None)
        .unwrap()
        .scheme
        .boundary
        .unwrap();
    (boundary.tokens, boundary.rule)
}

#[test]
fn listed_tokens_of_longcat_end_the_history() {
    let cases = [
        (json!(2), json!([2, 3]), vec![2, 3]),
        (json!([2, 50]), Value::Null, vec![2, 50]),
        (json!([2]), json!([]), vec![2]),
        (json!(2), json!([7, 3]), vec![2, 7, 3]),
    ];
    for (eos, listed, expected) in cases {
        let changed = Changed::new("longcat");
        changed.edit_fields(|fields| {
            for name in ["neighbor_num", "split_num"] {
                let value = fields.remove(&format!("emb_{name}")).unwrap();
                fields.insert(format!("oe_{name}"), value);
            }
            let ratio = fields.remove("ngram_vocab_size_ratio").unwrap();
            fields.insert("oe_vocab_size_ratio".into(), ratio);
            fields.insert("eos_token_id".into(), eos);
            fields.insert("oe_ignored_token_ids".into(), listed);
        });
        assert_eq!(boundary(&changed.folder()), (expected, BoundaryRule::Dead));
        changed.has_its_rows("newer spelling");
    }
}

#[test]
fn fields_of_tables_that_are_not_known_are_refused_with_name_and_level() {
    for family in KINDS {
        for field in [
            "engram_seed",
            "oe_hash_rule",
            "ngram_fused_mode",
            "use_over_embedding",
            "ple_salt",
            "engram",
        ] {
            for level in ["", "text_config", "vision_config", "extra"] {
                let changed = Changed::new(family);
                changed.edit_config(|json| {
                    let object = if level.is_empty() {
                        json
                    } else {
                        &mut json[level]
                    };
                    if object.is_null() {
                        *object = json!({});
                    }
                    object[field] = json!({ "mode": 1 });
                });
                let error = changed.error();
                let expected = if level.is_empty() { "the root" } else { level };
                assert!(
                    matches!(&error, CheckpointError::UnknownField { field: found, level, .. }
                        if found == field && level == expected),
                    "{family}, {field} at {expected}: {error}"
                );
                assert!(error.to_string().contains(field), "{error}");
            }
        }
    }
    let changed = Changed::new("longcat");
    changed.edit_fields(|fields| _ = fields.insert("emb_hash_base".into(), json!(3)));
    assert!(matches!(
        changed.error(),
        CheckpointError::UnknownField { .. }
    ));

    // Neither a field without a value nor what says how tensors are stored is about rows.
    let changed = Changed::new("qwen");
    changed.edit_config(|json| {
        json["ngram_fused_mode"] = Value::Null;
        json["quantization_config"] =
            json!({ "ngram_embedding": { "bits": 8 }, "ple.key_proj": {} });
    });
    changed.has_its_rows("null and quantization");
}

#[test]
fn fields_at_two_levels_must_agree() {
    let cases = [
        ("qwen", "ngram_vocab_size_base", json!(60)),
        ("qwen", "vocab_size", json!(101)),
        ("qwen", "eos_token_id", json!([7, 90])),
        ("qwen", "seed", json!(7)),
        ("deepseek", "engram_vocab_size", json!(24)),
        ("deepseek", "engram_pad_id", json!(3)),
    ];
    for (family, field, value) in cases {
        let changed = Changed::new(family);
        changed.edit_fields(|fields| _ = fields.entry("seed").or_insert(json!(1_234)));
        changed.edit_config(|json| json[field] = value);
        let error = changed.error();
        let is_refused = matches!(&error, CheckpointError::Contradiction { fields, .. }
            if fields[1].name == field && fields[1].level == "the root");
        assert!(is_refused, "{family} {field}: {error}");
    }

    // The same value twice is no contradiction, nor is a list whose first token is the one.
    let changed = Changed::new("qwen");
    changed.edit_config(|json| {
        json["vocab_size"] = json["text_config"]["vocab_size"].clone();
        json["eos_token_id"] = json!([90, 5]);
    });
    changed.has_its_rows("the same twice");

    // Alone at the other level, a seed would be left out by the model's own library.
    for (field, value) in [("seed", json!(7)), ("ple_conv_kernel_size", json!(4))] {
        let changed = Changed::new("qwen");
        changed.edit_config(|json| {
            json["text_config"].as_object_mut().unwrap().remove(field);
            json[field] = value;
        });
        let error = changed.error();
        assert!(
            matches!(error, CheckpointError::MisplacedField { .. }),
            "{field}: {error}"
        );
    }

    // Two spellings of one field.
    let changed = Changed::new("longcat");
    changed.edit_fields(|fields| _ = fields.insert("oe_split_num".into(), json!(1)));
    assert!(matches!(
        changed.error(),
        CheckpointError::Contradiction { .. }
    ));
}

#[test]
fn models_of_other_families_are_named_by_their_fields() {
    let changed = Changed::new("demo");
    fs::write(
        changed.file("config.json"),
        r#"{"model_type":"m2","oe_enable":true,"x":{"ngram_y":1}}"#,
    )
    .unwrap();
    let error = changed.error().to_string();
    assert!(
        error.contains("`oe_enable`") && error.contains("`ngram_y`"),
        "{error}"
    );
}

#[test]
fn a_draft_heads_table_is_never_the_models() {
    let twin = |changed: &Changed, prefix: &str, zero: bool| {
        let tensors = read_tensors(&changed.file_of(VALUES));
        let twins: Vec<_> = tensors
            .into_iter()
            .map(|(name, fields, bytes)| {
                let other: Vec<u8> = bytes
                    .iter()
                    .map(|&byte| if zero { byte ^ 1 } else { byte })
                    .collect();
                (format!("{prefix}{name}"), fields, other)
            })
            .collect();
        write_tensors(&changed.file("draft.safetensors"), &twins);
        edit_json(&changed.file(INDEX), |json| {
            for (name, _, _) in &twins {
                json["weight_map"][name] = json!("draft.safetensors");
            }
        });
    };

    // Beside the model's, it is left out, and said to be there.
    for draft in ["mtp.", "eagle_head.", "another_copy."] {
        let changed = Changed::new("deepseek");
        twin(&changed, draft, true);
        let notes = changed.has_its_rows(draft).notes;
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(
            notes[0].contains(VALUES) && notes[0].contains(&format!("{draft}{VALUES}")),
            "{notes:?}"
        );
    }

    // In the place of the model's, it is refused.
    for draft in ["mtp.", "another_copy."] {
        let changed = Changed::new("deepseek");
        changed.rename(|name| {
            if name.starts_with("layers.1.") {
                format!("{draft}{name}")
            } else {
                name.into()
            }
        });
        let error = changed.error();
        assert!(
            matches!(error, CheckpointError::NoCommonPrefix { .. }),
            "{error}"
        );
        assert!(
            error.to_string().contains(&format!("{draft}{VALUES}")),
            "{error}"
        );
    }
    for (family, from, to) in [
        ("qwen", "model.language_model.", "mtp."),
        ("longcat", "model.", "model.mtp."),
        ("deepseek", "", "model.draft_model."),
    ] {
        let changed = Changed::new(family);
        changed.rename(|name| format!("{to}{}", name.strip_prefix(from).unwrap()));
        assert!(
            matches!(changed.error(), CheckpointError::NoCommonPrefix { .. }),
            "{family}"
        );
    }
}

#[test]
fn a_prefix_that_only_some_layers_have_is_refused() {
    let changed = Changed::new("qwen");
    changed.rename(|name| name.replace("model.language_model.", "copy."));
    let layers: Vec<_> = (0..4)
        .map(|layer| {
            (
                format!("model.layers.{layer}.norm.weight"),
                json!({ "dtype": "F32", "shape": [1] }),
                vec![0; 4],
            )
        })
        .collect();
    write_tensors(&changed.file("rest.safetensors"), &layers);
    edit_json(&changed.file(INDEX), |json| {
        for (name, _, _) in &layers {
            json["weight_map"][name] = json!("rest.safetensors");
        }
    });
    let error = changed.error();
    assert!(
        matches!(error, CheckpointError::PartialPrefix { .. }),
        "{error}"
    );
}

#[test]
fn of_two_whole_copies_none_is_taken() {
    let changed = Changed::new("qwen");
    for file in tensor_files(&changed.folder()) {
        let tensors = read_tensors(&file).into_iter();
        let copies: Vec<_> = tensors
            .map(|(name, fields, bytes)| (format!("copy.{name}"), fields, bytes))
            .collect();
        let name = format!("copy-{}", file.file_name().unwrap().to_str().unwrap());
        write_tensors(&changed.file(&name), &copies);
        edit_json(&changed.file(INDEX), |json| {
            for (tensor, _, _) in &copies {
                json["weight_map"][tensor] = json!(name);
            }
        });
    }
    let error = changed.error();
    assert!(
        matches!(&error, CheckpointError::AmbiguousTensor { found, .. } if found.len() == 2),
        "{error}"
    );
}

#[test]
fn prefixes_of_wrappers_are_found() {
    for prefix in [
        "model.",
        "language_model.model.",
        "_orig_mod.module.",
        "base_model.model.model.",
    ] {
        let changed = Changed::new("deepseek");
        changed.rename(|name| format!("{prefix}{name}"));
        assert!(changed.has_its_rows(prefix).notes.is_empty());
    }
}

#[test]
fn runs_of_zero_rows_are_refused_unless_allowed() {
    for (family, tensor, of) in [
        ("deepseek", VALUES, "layers.1.engram.embed.weight"),
        ("deepseek", SCALES, "layers.1.engram.embed.scale"),
        (
            "demo",
            "layers.1.engram.multi_head_embedding.embedding.weight",
            "embedding.weight",
        ),
        (
            "longcat",
            "model.ngram_embeddings.embedders.1.weight",
            "embedders.1.weight",
        ),
    ] {
        let changed = Changed::new(family);
        let file = changed.file_of(tensor);
        let header_bytes = fs::metadata(&file).unwrap().len() - read_header(&file).1.len() as u64;
        let fields = &read_header(&file).0[tensor];
        let place = |end: usize| header_bytes + fields["data_offsets"][end].as_u64().unwrap();
        let (start, end) = (place(0), place(1));
        let row_bytes = (end - start) / fields["shape"][0].as_u64().unwrap();
        let write_zeros = |rows: u64| {
            let bytes = vec![0; usize::try_from(rows * row_bytes).unwrap()];
            fs::OpenOptions::new()
                .write(true)
                .open(&file)
                .unwrap()
                .write_all_at(&bytes, start)
                .unwrap();
        };
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);

        // One zero row, or a few, are no fault.
        write_zeros(4);
        let checkpoint = Checkpoint::open(&changed.folder(), None).unwrap();
        build(&checkpoint, &at("few"), &BuildOptions::default(), &|_| ()).unwrap();
        attach(&checkpoint, &at("few attached")).unwrap();

        write_zeros(20);
        let error = build(&checkpoint, &at("pack"), &BuildOptions::default(), &|_| ()).unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.contains("20 rows from row 0 of tensor") && error.contains(of),
            "{error}"
        );
        assert!(
            error.contains(file.to_str().unwrap()) && error.contains("--allow-zeros"),
            "{error}"
        );
        assert!(Store::open(at("pack"), Config::new()).is_err());
        let error = format!("{:#}", attach(&checkpoint, &at("attached")).unwrap_err());
        assert!(error.contains("are zero") && error.contains(of), "{error}");
        assert!(!at("attached").exists());

        let allowed = BuildOptions {
            allow_zeros: true,
            resume: true,
            ..BuildOptions::default()
        };
        build(&checkpoint, &at("pack"), &allowed, &|_| ()).unwrap();
        attach_with(
            &checkpoint,
            &at("attached"),
            &AttachOptions { allow_zeros: true },
        )
        .unwrap();
        for pack in [at("pack"), at("attached")] {
            assert!(
                verify(&pack, &VerifyOptions::default(), &|_| ())
                    .unwrap()
                    .damage
                    .is_empty()
            );
        }
    }
}

#[test]
fn the_index_decides_between_two_copies_of_a_tensor() {
    let overlay = "model-overlay-00001.safetensors";
    let names = [VALUES, SCALES];
    let make = |listed: bool| {
        let changed = Changed::new("deepseek");
        let file = changed.file_of(VALUES);
        let mut tensors = read_tensors(&file);
        let copies: Vec<_> = tensors
            .iter()
            .filter(|(name, _, _)| names.contains(&name.as_str()))
            .cloned()
            .collect();
        write_tensors(&changed.file(overlay), &copies);
        for (name, _, bytes) in &mut tensors {
            if names.contains(&name.as_str()) {
                bytes.fill(0);
            }
        }
        write_tensors(&file, &tensors);
        edit_json(&changed.file(INDEX), |json| {
            for name in names {
                if listed {
                    json["weight_map"][name] = json!(overlay)
                } else {
                    _ = json["weight_map"].as_object_mut().unwrap().remove(name)
                }
            }
            json["weight_map"]["something.else"] = json!(overlay);
        });
        changed
    };
    make(true).has_its_rows("overlay");
    let (first, second) = (make(false), make(false));
    let error = first.error();
    assert!(
        matches!(&error, CheckpointError::DuplicateTensor { name, files, .. }
        if name == VALUES && files[..] == ["model-00001-of-00002.safetensors", overlay]),
        "{error}"
    );
    let without_folder = |changed: &Changed| {
        let error = changed.error().to_string();
        error.replace(changed.folder().to_str().unwrap(), "")
    };
    assert_eq!(without_folder(&first), without_folder(&second));
}

#[test]
fn an_index_beside_a_single_file_decides_as_far_as_its_files_are_there() {
    // Joined from its parts, of which the index is left.
    let join = |changed: &Changed, zero: &str| {
        let mut all = Vec::new();
        for file in tensor_files(&changed.folder()) {
            all.extend(read_tensors(&file));
            if zero.is_empty() {
                fs::remove_file(file).unwrap();
            }
        }
        for (name, _, bytes) in &mut all {
            if name == zero {
                bytes.fill(0);
            }
        }
        write_tensors(&changed.file("model.safetensors"), &all);
    };
    let changed = Changed::new("deepseek");
    join(&changed, "");
    changed.has_its_rows("joined");
    // As an overlay of the single file.
    let changed = Changed::new("deepseek");
    join(&changed, VALUES);
    changed.has_its_rows("overlay");
}

#[test]
fn an_index_may_list_more_or_less_than_there_is() {
    let changed = Changed::new("deepseek");
    edit_json(&changed.file(INDEX), |json| {
        // Neither the rest of the model nor a tensor of it need be there.
        json["weight_map"]["layers.9.norm.weight"] = json!("model-00099-of-00099.safetensors");
        json["weight_map"]["layers.1.norm.weight"] = json!("model-00001-of-00002.safetensors");
        json["weight_map"]["lm_head.weight"] = json!("pointer.safetensors");
        json["weight_map"].as_object_mut().unwrap().remove(SCALES);
    });
    fs::write(changed.file("pointer.safetensors"), POINTER).unwrap();
    changed.has_its_rows("more and less");

    // A file that it does not name at all, as converters leave that copy the tables.
    let changed = Changed::new("deepseek");
    edit_json(&changed.file(INDEX), |json| {
        let map = json["weight_map"].as_object_mut().unwrap();
        map.retain(|name, _| !name.starts_with("layers.1."));
    });
    let notes = changed.has_its_rows("a file that is not named").notes;
    assert!(
        notes[0].contains("model-00001-of-00002.safetensors"),
        "{notes:?}"
    );

    // What is needed must be there.
    let changed = Changed::new("deepseek");
    fs::remove_file(changed.file("model-00001-of-00002.safetensors")).unwrap();
    let error = changed.error().to_string();
    assert!(
        error.contains("cannot open") && error.contains("model-00001-of-00002.safetensors"),
        "{error}"
    );
}

#[test]
fn json_is_read_as_python_writes_it() {
    for family in KINDS {
        let changed = Changed::new(family);
        for (name, more) in [
            (
                "config.json",
                r#""x":NaN,"time_step_limit":[0.0,Infinity,-Infinity]"#,
            ),
            (INDEX, r#""y":NaN"#),
        ] {
            let path = changed.file(name);
            let text = fs::read_to_string(&path).unwrap();
            let text = text.trim_end().strip_suffix('}').unwrap();
            fs::write(&path, format!("{text},{more}}}\n")).unwrap();
        }
        changed.has_its_rows(family);
    }
    let changed = Changed::new("longcat");
    let path = changed.file("config.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replace("\"hidden_size\": 96", "\"hidden_size\": -Infinity"),
    )
    .unwrap();
    let error = changed.error().to_string();
    assert!(
        error.contains("`hidden_size` is -Infinity, expected a whole number"),
        "{error}"
    );
    fs::write(&path, "{\"a\": NaN,\n \"b\": ?}").unwrap();
    let error = changed.error().to_string();
    assert!(error.contains("line 2 column 7"), "{error}");
}

#[test]
fn tensors_that_converters_rename_are_taken() {
    type Rename = fn(&str) -> String;
    let cases: [(&str, Rename); 6] = [
        ("qwen", |name| match name.split_once(".shard_") {
            Some((table, part)) => format!("{table}.shards.{part}"),
            None => name.into(),
        }),
        ("qwen", |name| {
            name.replace(".weight_scale", ".weight_scale_inv")
        }),
        ("deepseek", |name| {
            name.replace("embed.weight", "embed_tokens.weight")
        }),
        ("deepseek", |name| {
            name.replace("embed.scale", "embed.weight_scale_inv")
        }),
        ("deepseek", |name| {
            name.replace("embed.scale", "embed.weight_scale")
        }),
        ("deepseek", |name| {
            let name = name.replace("embed.scale", "embed_tokens.weight_scale_inv");
            name.replace("embed.weight", "embed_tokens.weight")
        }),
    ];
    for (number, (family, rename)) in cases.into_iter().enumerate() {
        let changed = Changed::new(family);
        changed.rename(rename);
        changed.has_its_rows(&format!("case {number}"));
    }

    // Two that may be meant.
    let changed = Changed::new("deepseek");
    let file = changed.file_of(SCALES);
    let mut tensors = read_tensors(&file);
    let (_, fields, bytes) = tensors
        .iter()
        .find(|(name, _, _)| name == SCALES)
        .unwrap()
        .clone();
    tensors.push(("layers.1.engram.embed.weight_scale".into(), fields, bytes));
    write_tensors(&file, &tensors);
    assert!(matches!(
        changed.error(),
        CheckpointError::AmbiguousTensor { .. }
    ));
}

#[test]
fn parts_of_a_table_may_be_joined_and_its_scale_a_half() {
    let changed = Changed::new("qwen");
    let mut parts = vec![Vec::new(); 8];
    let (mut rest, mut shape) = (Vec::new(), json!([0, 0]));
    for file in tensor_files(&changed.folder()) {
        for (name, mut fields, mut bytes) in read_tensors(&file) {
            if let Some(part) = name.strip_prefix(&format!("{QWEN_TABLE}.shard_")) {
                let number: usize = part.strip_suffix(".weight").unwrap().parse().unwrap();
                shape = fields["shape"].clone();
                parts[number] = bytes;
                continue;
            }
            if name.ends_with("weight_scale") {
                // 0.5 in both, whatever it was.
                fields["dtype"] = json!("F16");
                bytes = 0x3800_u16.to_le_bytes().to_vec();
            }
            rest.push((name, fields, bytes));
        }
        fs::remove_file(file).unwrap();
    }
    shape[0] = json!(8 * shape[0].as_u64().unwrap());
    let whole = (
        format!("{QWEN_TABLE}.weight"),
        json!({ "dtype": "F8_E4M3", "shape": shape }),
        parts.concat(),
    );
    rest.push(whole);
    write_tensors(&changed.file("model.safetensors"), &rest);
    let checkpoint = changed.has_its_rows("joined");
    assert!(
        matches!(checkpoint.tables[0].codec, engram::RowCodec::Fp8Scaled { scale_bits, .. }
        if f32::from_bits(scale_bits).to_bits() == 0.5_f32.to_bits())
    );
}

#[test]
fn a_missing_tensor_is_named_with_those_that_are_like_it() {
    let changed = Changed::new("deepseek");
    changed.rename(|name| name.replace("embed.weight", "embed_table.weight"));
    let error = changed.error();
    let CheckpointError::MissingTensor { name, nearest, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(name, VALUES);
    assert!(
        nearest.contains(&"layers.1.engram.embed_table.weight".into()),
        "{error}"
    );
}

const POINTER: &str =
    "version https://git-lfs.github.com/spec/v1\noid sha256:4cac19622fc3ada9\nsize 5000\n";
const PAGE: &str = "<!DOCTYPE html>\n<html><body>Sign in</body></html>";
const XML: &str = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>";
const MESSAGE: &str = "{\"error\":\"Repository not found\"}";

#[test]
fn what_lies_in_the_place_of_a_file_is_named() {
    let files = [
        "model-00001-of-00002.safetensors",
        "config.json",
        INDEX,
        "token_map.u32le",
        "tokenizer.json",
    ];
    for name in files {
        for (text, expected) in [
            ("", "the file is empty"),
            (POINTER, "git-lfs pointer"),
            (PAGE, "a web page"),
            (XML, "an XML answer"),
            (MESSAGE, "a message of a server"),
            ("Entry not found", "a message of a server"),
        ] {
            let changed = Changed::new("deepseek");
            fs::write(changed.file(name), text).unwrap();
            let error = changed.error();
            let CheckpointError::StandIn { path, found } = &error else {
                panic!("{name} of {text:?}: {error}");
            };
            assert_eq!(path, &changed.file(name));
            assert!(error.to_string().contains(expected), "{error}");
            if text == POINTER {
                assert_eq!(found, &StandIn::LfsPointer { bytes: Some(5_000) });
                assert!(error.to_string().contains("5,000 bytes"), "{error}");
            }
        }
    }
}

#[test]
fn what_is_missing_of_a_download_is_counted() {
    let changed = Changed::new("deepseek");
    let file = changed.file_of(VALUES);
    let whole = fs::read(&file).unwrap();
    for (cut, missing) in [(1_000, "1,000 bytes are missing"), (1, "1 byte is missing")] {
        fs::write(&file, &whole[..whole.len() - cut]).unwrap();
        let error = changed.error();
        assert!(
            matches!(error, CheckpointError::CutTensors { .. }),
            "{error}"
        );
        assert!(
            error.to_string().contains(missing) && error.to_string().contains("not complete"),
            "{error}"
        );
    }
    fs::write(&file, &whole[..200]).unwrap();
    assert!(
        changed
            .error()
            .to_string()
            .contains("the download is not complete")
    );
    fs::write(&file, whole).unwrap();

    for name in ["config.json", INDEX] {
        let path = changed.file(name);
        let text = fs::read(&path).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        let error = changed.error();
        assert!(matches!(error, CheckpointError::CutJson { .. }), "{error}");
        fs::write(&path, text).unwrap();
    }
    fs::write(
        changed.file("tokenizer.json"),
        r#"{"version": "1.0", "added"#,
    )
    .unwrap();
    assert!(matches!(changed.error(), CheckpointError::CutJson { .. }));
}

#[test]
fn padding_at_the_end_of_a_table_is_left_out() {
    for (family, tensors) in [
        ("deepseek", vec![VALUES, SCALES]),
        (
            "demo",
            vec!["layers.1.engram.multi_head_embedding.embedding.weight"],
        ),
        ("longcat", vec!["model.ngram_embeddings.embedders.1.weight"]),
        (
            "qwen",
            vec!["model.language_model.layers.1.ple.ple_embedding.ngram_embedding.shard_7.weight"],
        ),
    ] {
        for last in [0, 7] {
            let changed = Changed::new(family);
            for tensor in &tensors {
                let file = changed.file_of(tensor);
                let mut all = read_tensors(&file);
                let (_, fields, bytes) =
                    all.iter_mut().find(|(name, _, _)| name == tensor).unwrap();
                let rows = fields["shape"][0].as_u64().unwrap();
                let row_bytes = bytes.len() / usize::try_from(rows).unwrap();
                fields["shape"][0] = json!(rows + 42);
                bytes.resize(bytes.len() + 42 * row_bytes, 0);
                *bytes.last_mut().unwrap() = last;
                write_tensors(&file, &all);
            }
            if last == 0 {
                let checkpoint = changed.has_its_rows(family);
                assert_eq!(checkpoint.padding_rows(), 42);
                let pack = changed.fixture.folder().join("padded");
                let report = build(&checkpoint, &pack, &BuildOptions::default(), &|_| ()).unwrap();
                assert_eq!(report.padding_rows, 42);
            } else {
                let error = changed.error();
                assert!(
                    matches!(error, CheckpointError::NoPadding { .. }),
                    "{family}: {error}"
                );
                assert!(error.to_string().contains("42 rows more"), "{error}");
            }
        }
    }
}

#[test]
fn more_zero_rows_than_any_padding_are_another_models() {
    let changed = Changed::new("demo");
    let tensor = "layers.1.engram.multi_head_embedding.embedding.weight";
    let file = changed.file_of(tensor);
    let mut all = read_tensors(&file);
    let (_, fields, bytes) = all.iter_mut().find(|(name, _, _)| name == tensor).unwrap();
    let rows = fields["shape"][0].as_u64().unwrap();
    let row_bytes = bytes.len() / usize::try_from(rows).unwrap();
    fields["shape"][0] = json!(rows + 65_537);
    bytes.resize(bytes.len() + 65_537 * row_bytes, 0);
    write_tensors(&file, &all);
    let error = changed.error();
    assert!(matches!(error, CheckpointError::RowCount { .. }), "{error}");
}

#[test]
fn the_configuration_may_count_the_padding_but_no_other_rows() {
    let changed = Changed::new("deepseek");
    changed.edit_fields(|fields| {
        let rows = fields["engram_num_embeddings"][0].as_u64().unwrap();
        fields["engram_num_embeddings"][0] = json!(rows + 42);
    });
    let error = changed.error().to_string();
    assert!(
        error.contains("rows is 120, expected 162, by the configuration"),
        "{error}"
    );
}

#[test]
fn a_link_to_a_checkpoint_may_move_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for revision in ["aaa111", "bbb222"] {
        make_checkpoint(&small_family("deepseek"), 1, &at(revision));
    }
    symlink("aaa111", at("current")).unwrap();
    let pack = at("pack");
    attach(&Checkpoint::open(&at("current"), None).unwrap(), &pack).unwrap();
    let Storage::Attached { checkpoint } = read_manifest(&pack).unwrap().storage else {
        panic!("it is attached");
    };
    assert_eq!(Path::new(&checkpoint), at("current"));
    let rows = whole_tables(&open(&pack, READERS[2]));

    fs::remove_file(at("current")).unwrap();
    symlink("bbb222", at("current")).unwrap();
    fs::remove_dir_all(at("aaa111")).unwrap();
    assert!(whole_tables(&open(&pack, READERS[2])) == rows);

    fs::remove_file(at("current")).unwrap();
    let error = Store::open(&pack, Config::new()).unwrap_err();
    assert!(
        matches!(error, OpenError::CheckpointMoved { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("--checkpoint"), "{error}");
    let store = Store::open(&pack, Config::new().checkpoint(at("bbb222"))).unwrap();
    assert!(whole_tables(&store) == rows);
}

/// Tensors of a table with quantized rows: what follows the name of the values' module, type, elements of a row and
/// bytes of an element.
type Parts<'a> = &'a [(&'a str, &'a str, &'a [u64], usize)];

/// The tables of the small DeepSeek replaced by tensors of `parts`, and their rows, of bytes that make no NaN.
fn quantized(changed: &mut Changed, parts: Parts<'_>, table_scale: bool) {
    let scheme = Checkpoint::open(&changed.folder(), None).unwrap().scheme;
    for file in tensor_files(&changed.folder()) {
        fs::remove_file(file).unwrap();
    }
    fs::remove_file(changed.file(INDEX)).unwrap();
    let mut tensors = Vec::new();
    changed.rows = Vec::new();
    for layer in &scheme.layers {
        let rows = usize::try_from(layer.row_count).unwrap();
        let mut parts_of_rows = Vec::new();
        for (part, dtype, row, bytes) in parts {
            let row_bytes = usize::try_from(row.iter().product::<u64>()).unwrap() * bytes;
            let byte = |at: usize| u8::try_from(at * 7 % 59 + tensors.len()).unwrap();
            let data: Vec<u8> = (0..rows * row_bytes).map(byte).collect();
            let shape = [&[layer.row_count], *row].concat();
            let name = format!("layers.{}.engram.embed.{part}", layer.id);
            parts_of_rows.push((row_bytes, data.clone()));
            tensors.push((name, json!({"dtype": dtype, "shape": shape}), data));
        }
        if table_scale {
            let name = format!("layers.{}.engram.embed.weight_scale_2", layer.id);
            let scale = 0.125_f32.to_le_bytes().to_vec();
            tensors.push((name, json!({"dtype": "F32", "shape": []}), scale));
        }
        let row = |row: usize| {
            let part = |(bytes, data): &(usize, Vec<u8>)| data[row * bytes..][..*bytes].to_vec();
            parts_of_rows.iter().flat_map(part).collect::<Vec<u8>>()
        };
        changed.rows.push((0..rows).flat_map(row).collect());
    }
    write_tensors(&changed.file("model.safetensors"), &tensors);
}

#[test]
fn quantized_rows_are_told_by_the_types_of_their_tensors() {
    let width = 64;
    let [f32, f16, bf16] = [ScaleType::F32, ScaleType::F16, ScaleType::Bf16];
    let scale_bits = 0.125_f32.to_bits();
    let cases: [(Parts<'_>, bool, RowCodec); 8] = [
        (
            &[("weight", "U8", &[32], 1), ("weight_scale", "F16", &[4], 2)],
            false,
            RowCodec::Int4 {
                width,
                group: 16,
                scale: f16,
            },
        ),
        (
            &[("weight", "U8", &[32], 1), ("scale", "F32", &[], 4)],
            false,
            RowCodec::Int4 {
                width,
                group: 64,
                scale: f32,
            },
        ),
        (
            &[
                ("weight", "F8_E4M3", &[64], 1),
                ("weight_scale", "F32", &[], 4),
            ],
            false,
            RowCodec::Fp8Grouped {
                width,
                group: 64,
                scale: f32,
            },
        ),
        (
            &[
                ("weight", "F8_E4M3", &[64], 1),
                ("weight_scale_inv", "BF16", &[4], 2),
            ],
            false,
            RowCodec::Fp8Grouped {
                width,
                group: 16,
                scale: bf16,
            },
        ),
        (
            &[("weight", "I8", &[64], 1), ("weight_scale", "F16", &[1], 2)],
            false,
            RowCodec::Int8 {
                width,
                group: 64,
                scale: f16,
            },
        ),
        (
            &[("weight", "I8", &[64], 1), ("scale", "F32", &[2], 4)],
            false,
            RowCodec::Int8 {
                width,
                group: 32,
                scale: f32,
            },
        ),
        (
            &[
                ("weight", "U8", &[32], 1),
                ("weight_scale", "F8_E4M3", &[4], 1),
            ],
            true,
            RowCodec::Nvfp4 { width, scale_bits },
        ),
        (
            &[("weight", "U8", &[32], 1), ("weight_scale", "U8", &[2], 1)],
            false,
            RowCodec::Mxfp4 { width },
        ),
    ];
    for (parts, table_scale, codec) in cases {
        let mut changed = Changed::new("deepseek");
        quantized(&mut changed, parts, table_scale);
        let checkpoint = changed.has_its_rows(&format!("{codec:?}"));
        assert_eq!(checkpoint.tables[1].codec, codec);
    }
}

#[test]
fn quantized_rows_without_what_belongs_to_them_are_refused() {
    let fp4: (&str, &str, &[u64], usize) = ("weight", "U8", &[32], 1);
    let cases: [(Parts<'_>, &str); 7] = [
        (
            &[fp4, ("weight_scale", "F8_E4M3", &[4], 1)],
            "no tensor named `layers.1.engram.embed.weight_scale_2`",
        ),
        (
            &[fp4, ("weight_scale", "U8", &[4], 1)],
            "expected [rows, 2]",
        ),
        (
            &[fp4, ("weight_scale", "I16", &[4], 2)],
            "F8_E4M3 for NVFP4, F8_E8M0 for MXFP4, or F32, F16 or BF16 for INT4",
        ),
        (&[fp4, ("weight_scale", "F16", &[8], 2)], "a multiple of 16"),
        (
            &[
                ("weight", "I32", &[64], 4),
                ("weight_scale", "F16", &[4], 2),
            ],
            "I8, or U8 for FP4 or INT4",
        ),
        (
            &[("weight", "I8", &[64], 1)],
            "no tensor named `layers.1.engram.embed.scale`",
        ),
        (
            &[("weight", "U8", &[64], 1), ("weight_scale", "U8", &[2], 1)],
            "width is 64, expected 32",
        ),
    ];
    for (parts, expected) in cases {
        let mut changed = Changed::new("deepseek");
        quantized(&mut changed, parts, false);
        let refused = changed.error().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
}
