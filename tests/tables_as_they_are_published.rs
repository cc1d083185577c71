//! Tables in the files, names and types in which people publish them, with a model beside them or without, are found;
//! what cannot be served is refused by name.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use engram_checkpoint::{Checkpoint, CheckpointError, CheckpointOptions};
use engram_format::{BoundaryRule, RowCodec, ScaleType};
use engram_pack::{BuildOptions, VerifyOptions, attach, build, verify};
use engram_tests::{
    Fixture, READERS, edit_json, open, read_tensors, tensor_files, whole_tables, write_tensors,
};
use serde_json::{Value, json};

const INDEX: &str = "model.safetensors.index.json";

type Tensors = Vec<(String, Value, Vec<u8>)>;
type Edit = Box<dyn Fn(&mut Value)>;

/// The checkpoint of a small family, taken apart into its tensors.
struct Taken {
    fixture: Fixture,
    rows: Vec<Vec<u8>>,
    tensors: Tensors,
}

impl Taken {
    fn new(family: &str) -> Self {
        let fixture = Fixture::new(family);
        let rows = whole_tables(&open(&fixture.pack(), READERS[0]));
        let files = tensor_files(&fixture.checkpoint());
        let tensors = files.iter().flat_map(|file| read_tensors(file)).collect();
        for file in &files {
            fs::remove_file(file).unwrap();
        }
        fs::remove_file(fixture.checkpoint().join(INDEX)).unwrap();
        Self {
            fixture,
            rows,
            tensors,
        }
    }

    fn folder(&self) -> PathBuf {
        self.fixture.checkpoint()
    }

    fn config(&self) -> String {
        self.folder().join("config.json").to_str().unwrap().into()
    }

    /// Writes `files` of tensors and, if wanted, the index that lists them.
    fn write(&self, files: &[(&str, Tensors)], with_index: bool) {
        let mut map = BTreeMap::new();
        for (file, tensors) in files {
            write_tensors(&self.folder().join(file), tensors);
            map.extend(tensors.iter().map(|(name, ..)| (name.clone(), *file)));
        }
        if with_index {
            let index = json!({ "metadata": {}, "weight_map": map });
            fs::write(self.folder().join(INDEX), index.to_string()).unwrap();
        }
    }

    /// Those of the tensors whose name contains `part`.
    fn of(&self, part: &str) -> Tensors {
        let tensors = self.tensors.iter();
        let tensors = tensors.filter(|(name, ..)| name.contains(part));
        tensors.cloned().collect()
    }
}

/// Checks that packs of the checkpoint, packed and attached, have `rows`.
fn has_rows(checkpoint: &Checkpoint, rows: &[Vec<u8>], what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let [pack, attached] = ["pack", "attached"].map(|name| folder.path().join(name));
    build(checkpoint, &pack, &BuildOptions::default(), &|_| ()).unwrap();
    attach(checkpoint, &attached).unwrap();
    for (pack, reader) in [
        (&pack, READERS[0]),
        (&attached, READERS[2]),
        (&attached, READERS[3]),
    ] {
        let report = verify(pack, &VerifyOptions::default(), &|_| ()).unwrap();
        assert!(report.damage.is_empty(), "{what}");
        assert!(whole_tables(&open(pack, reader)) == rows, "{what}");
    }
}

fn with_scheme<'a>(scheme: &'a str, tokenizer: Option<&'a Path>) -> CheckpointOptions<'a> {
    CheckpointOptions {
        tokenizer,
        scheme: Some(scheme),
    }
}

#[test]
fn tables_in_the_last_two_of_many_files_need_no_others() {
    // DeepSeek-V4.1-Flash of October has the six tensors of each layer in one of the last two of its 48 files.
    let taken = Taken::new("deepseek");
    let [first, second] = ["layers.1.", "layers.3."].map(|layer| taken.of(layer));
    let files = [
        ("model-00047-of-00048.safetensors", first),
        ("model-00048-of-00048.safetensors", second),
    ];
    taken.write(&files, true);
    edit_json(&taken.folder().join(INDEX), |index| {
        for file in 1..47 {
            let name = format!("layers.{}.ffn.experts.{file}.w1.weight", file % 4);
            index["weight_map"][name] = format!("model-{file:05}-of-00048.safetensors").into();
        }
    });
    let checkpoint = Checkpoint::open(&taken.folder(), None).unwrap();
    let names: Vec<&str> = checkpoint
        .sources
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    assert_eq!(names, files.each_ref().map(|(name, _)| *name));
    has_rows(&checkpoint, &taken.rows, "October");
}

#[test]
fn scales_may_lie_in_another_file_than_values() {
    let taken = Taken::new("deepseek");
    let (scales, values) = taken
        .tensors
        .iter()
        .cloned()
        .partition(|(name, ..)| name.ends_with("embed.scale"));
    taken.write(
        &[
            ("values.safetensors", values),
            ("scales.safetensors", scales),
        ],
        true,
    );
    let checkpoint = Checkpoint::open(&taken.folder(), None).unwrap();
    let [values, scales] = checkpoint.tables[0].planes.as_slice() else {
        panic!("two planes");
    };
    assert_ne!(values.segments[0].source, scales.segments[0].source);
    has_rows(&checkpoint, &taken.rows, "apart");
}

/// The rows of the tensors, and these cut up: INT8 values with a scale a row beside each of them.
fn with_scales_of_rows(tensors: &Tensors) -> (Tensors, Vec<u8>) {
    let (mut quantized, mut rows) = (Vec::new(), Vec::new());
    for (index, (name, fields, bytes)) in tensors.iter().enumerate() {
        let shape = &fields["shape"];
        let count = usize::try_from(shape[0].as_u64().unwrap()).unwrap();
        let width = usize::try_from(shape[1].as_u64().unwrap()).unwrap();
        let values = bytes[..count * width].to_vec();
        let scale = |row: usize| f32::from(u16::try_from(row + 10 * index).unwrap()) / 8.0;
        let scales: Vec<u8> = (0..count)
            .flat_map(|row| scale(row).to_le_bytes())
            .collect();
        for row in 0..count {
            rows.extend(&values[row * width..][..width]);
            rows.extend(&scales[4 * row..][..4]);
        }
        quantized.push((name.clone(), json!({"dtype": "I8", "shape": shape}), values));
        let name = name.replace("weight", "weight_scale");
        quantized.push((name, json!({"dtype": "F32", "shape": [count, 1]}), scales));
    }
    (quantized, rows)
}

#[test]
fn each_part_of_a_table_may_have_scales_of_its_own() {
    for (family, part, width) in [
        ("qwen", "ngram_embedding.shard_", 16),
        ("longcat", "ngram_embeddings.embedders.", 24),
    ] {
        let taken = Taken::new(family);
        let mut parts = taken.of(part);
        parts.sort_by_key(|(name, ..)| {
            let digits = name.rsplit_once(".weight").unwrap().0;
            digits
                .rsplit(['_', '.'])
                .next()
                .unwrap()
                .parse::<u32>()
                .unwrap()
        });
        let (quantized, rows) = with_scales_of_rows(&parts);
        taken.write(&[("model.safetensors", quantized.clone())], false);
        let checkpoint = Checkpoint::open(&taken.folder(), None).unwrap();
        let table = &checkpoint.tables[0];
        let codec = RowCodec::Int8 {
            width,
            group: width,
            scale: ScaleType::F32,
        };
        assert_eq!(table.codec, codec);
        let segments = [0, 1].map(|plane: usize| table.planes[plane].segments.len());
        assert_eq!(
            segments,
            [parts.len(); 2],
            "{family}: several tensors a plane"
        );
        let reachable: u64 = checkpoint.scheme.layers[0].buckets.iter().sum();
        let bytes = usize::try_from(reachable).unwrap() * codec.row_bytes();
        has_rows(&checkpoint, &[rows[..bytes].to_vec()], family);

        // One of the scales is not there, or of another kind.
        let mut fewer = quantized.clone();
        fewer.pop();
        taken.write(&[("model.safetensors", fewer.clone())], false);
        let refused = Checkpoint::open(&taken.folder(), None).unwrap_err();
        assert!(
            matches!(refused, CheckpointError::MissingTensor { .. }),
            "{refused}"
        );
        // FP8 values may have no scales at all, but not some.
        for (_, fields, _) in &mut fewer {
            if fields["dtype"] == "I8" {
                fields["dtype"] = "F8_E4M3".into();
            }
        }
        taken.write(&[("model.safetensors", fewer)], false);
        let refused = Checkpoint::open(&taken.folder(), None).unwrap_err();
        assert!(
            matches!(refused, CheckpointError::MissingTensor { .. }),
            "{refused}"
        );
        let mut other = quantized;
        let last = other.last_mut().unwrap();
        let count = last.1["shape"][0].clone();
        last.1 = json!({"dtype": "F16", "shape": [count, 2]});
        taken.write(&[("model.safetensors", other)], false);
        let refused = Checkpoint::open(&taken.folder(), None)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("as its siblings"), "{refused}");
    }
}

#[test]
fn the_one_scale_of_a_table_may_stand_beside_every_part_of_it() {
    let taken = Taken::new("qwen");
    let mut tensors = taken.of("ngram_embedding.shard_");
    let scale = taken.of("ngram_embedding.weight_scale").pop().unwrap();
    let scales = tensors.iter().map(|(name, ..)| {
        let name = name.replace("weight", "weight_scale");
        (name, scale.1.clone(), scale.2.clone())
    });
    tensors.extend(scales.collect::<Tensors>());
    taken.write(&[("model.safetensors", tensors.clone())], false);
    let checkpoint = Checkpoint::open(&taken.folder(), None).unwrap();
    has_rows(&checkpoint, &taken.rows, "scales of parts");
    tensors.last_mut().unwrap().2[0] ^= 1;
    taken.write(&[("model.safetensors", tensors)], false);
    let refused = Checkpoint::open(&taken.folder(), None)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("as its siblings"), "{refused}");
}

#[test]
fn scales_that_are_no_numbers_are_refused() {
    // That of a whole table, when its checkpoint is opened.
    let taken = Taken::new("qwen");
    let mut tensors = taken.tensors.clone();
    let scale = tensors
        .iter_mut()
        .find(|(name, ..)| name.ends_with("weight_scale"));
    // A NaN in bfloat16.
    scale.unwrap().2 = vec![0xC0, 0x7F];
    taken.write(&[("model.safetensors", tensors)], false);
    let refused = Checkpoint::open(&taken.folder(), None)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("scale_bits"), "{refused}");

    // That of a row, when it is packed.
    let taken = Taken::new("longcat");
    let (mut quantized, _) = with_scales_of_rows(&taken.of("ngram_embeddings.embedders."));
    let (_, _, scales) = &mut quantized[1];
    scales[4 * 5..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    taken.write(&[("model.safetensors", quantized)], false);
    let checkpoint = Checkpoint::open(&taken.folder(), None).unwrap();
    let pack = taken.fixture.folder().join("of-nan");
    let refused = build(&checkpoint, &pack, &BuildOptions::default(), &|_| ()).unwrap_err();
    let refused = format!("{refused:#}");
    assert!(
        refused.contains("row 5") && refused.contains("scale"),
        "{refused}"
    );
}

#[test]
fn tables_alone_are_found_by_the_scheme_that_is_named() {
    let cases = [
        ("qwen", "ngram_embedding.", false),
        ("longcat-2", "embedders.", false),
        ("gemma", "embed_tokens_per_layer", false),
        ("deepseek", "embed.", true),
        ("over-encoding", "oe.", true),
    ];
    for (family, part, has_map) in cases {
        let taken = Taken::new(family);
        let away = taken.fixture.folder().join("config.json");
        fs::rename(taken.config(), &away).unwrap();
        let map = taken.fixture.folder().join("map.u32le");
        if has_map {
            fs::rename(taken.folder().join("token_map.u32le"), &map).unwrap();
        }
        let tokenizer = has_map.then_some(map.as_path());
        let scheme = away.to_str().unwrap();
        let options = with_scheme(scheme, tokenizer);
        let tensors = taken.of(part);
        assert!(!tensors.is_empty(), "{family}");

        // In a file of any name, which may itself be named.
        taken.write(&[("ngram-table.safetensors", tensors.clone())], false);
        let file = taken.folder().join("ngram-table.safetensors");
        for path in [taken.folder(), file] {
            let checkpoint = Checkpoint::open_with(&path, options).unwrap();
            has_rows(&checkpoint, &taken.rows, family);
        }
        // In several, and none of them is listed.
        let (some, others) = tensors.split_at(tensors.len() / 2);
        fs::remove_file(taken.folder().join("ngram-table.safetensors")).unwrap();
        taken.write(
            &[
                ("a.safetensors", some.to_vec()),
                ("b.safetensors", others.to_vec()),
            ],
            false,
        );
        let checkpoint = Checkpoint::open_with(&taken.folder(), options).unwrap();
        has_rows(&checkpoint, &taken.rows, family);
        if has_map {
            let refused = Checkpoint::open_with(&taken.folder(), with_scheme(scheme, None));
            let refused = refused.unwrap_err();
            assert!(
                matches!(refused, CheckpointError::NoTokenMap { .. }),
                "{refused}"
            );
        } else {
            let refused = Checkpoint::open_with(&taken.folder(), with_scheme(scheme, Some(&map)));
            assert!(
                refused
                    .unwrap_err()
                    .to_string()
                    .contains("takes no token map")
            );
        }
        let refused = Checkpoint::open(&taken.folder(), None).unwrap_err();
        assert!(matches!(refused, CheckpointError::Io(_)), "{refused}");
    }
}

#[test]
fn names_in_tables_alone_may_lack_what_comes_first() {
    let taken = Taken::new("qwen");
    let tensors = taken.of("ngram_embedding.");
    for first in ["layers.", "ple_embedding.", "ngram_embedding."] {
        let shorter = tensors.iter().filter_map(|(name, fields, bytes)| {
            let name = &name[name.find(first)?..];
            Some((name.to_owned(), fields.clone(), bytes.clone()))
        });
        let shorter: Tensors = shorter.collect();
        taken.write(&[("model.safetensors", shorter)], false);
        let config = taken.config();
        let checkpoint = Checkpoint::open_with(&taken.folder(), with_scheme(&config, None));
        has_rows(&checkpoint.unwrap(), &taken.rows, first);
        let whole = Checkpoint::open(&taken.folder(), None);
        assert_eq!(whole.is_ok(), first == "layers.", "a model has whole names");
    }
    // Where layers would no longer be told apart, no name is shortened.
    let taken = Taken::new("deepseek");
    let one = taken.of("layers.1.engram.embed.");
    let one = one.iter().map(|(name, fields, bytes)| {
        (name.replace("layers.1.", ""), fields.clone(), bytes.clone())
    });
    taken.write(&[("model.safetensors", one.collect())], false);
    let config = taken.config();
    let refused = Checkpoint::open_with(&taken.folder(), with_scheme(&config, None)).unwrap_err();
    assert!(
        matches!(refused, CheckpointError::MissingTensor { .. }),
        "{refused}"
    );
}

#[test]
fn a_published_model_is_a_scheme_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("per-layer.safetensors");
    let (rows, width) = (262_144_u64, 8_960_u64);
    let fields = json!({"embed_tokens_per_layer.weight":
        {"dtype": "BF16", "shape": [rows, width], "data_offsets": [0, 2 * rows * width]}});
    let header = fields.to_string();
    let start = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    fs::write(&path, &start).unwrap();
    let whole = start.len() as u64 + 2 * rows * width;
    File::options()
        .append(true)
        .open(&path)
        .unwrap()
        .set_len(whole)
        .unwrap();
    let checkpoint = Checkpoint::open_with(&path, with_scheme("gemma-3n", None)).unwrap();
    assert_eq!(checkpoint.tables[0].codec, RowCodec::Bf16 { width: 8_960 });
    let refused = Checkpoint::open_with(&path, with_scheme("gemma-4", None)).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("width is 8960, expected 10752"),
        "{refused}"
    );
    let refused = Checkpoint::open_with(&path, with_scheme("gemma-5", None)).unwrap_err();
    assert!(
        refused.to_string().contains("unknown scheme `gemma-5`"),
        "{refused}"
    );
    let refused = Checkpoint::open_with(&path, with_scheme("x/no.json", None)).unwrap_err();
    assert!(matches!(refused, CheckpointError::Io(_)), "{refused}");
}

/// The tensors of tables cut into as many parts as there are ranks, each with `rows` rows or fewer; the last may be
/// padded.
fn split(
    tensors: &Tensors,
    is_table: impl Fn(&str) -> bool,
    ranks: usize,
    pad: bool,
) -> Vec<Tensors> {
    let part = |rank: usize| {
        let part = tensors.iter().map(|(name, fields, bytes)| {
            if !is_table(name) {
                return (name.clone(), fields.clone(), bytes.clone());
            }
            let rows = usize::try_from(fields["shape"][0].as_u64().unwrap()).unwrap();
            let row_bytes = bytes.len() / rows;
            let each = rows.div_ceil(ranks);
            let (start, end) = (rank * each, rows.min((rank + 1) * each));
            let mut part = bytes[start * row_bytes..end * row_bytes].to_vec();
            if pad {
                part.resize(each * row_bytes, 0);
            }
            let mut fields = fields.clone();
            fields["shape"][0] = (part.len() / row_bytes).into();
            (name.clone(), fields, part)
        });
        part.collect()
    };
    (0..ranks).map(part).collect()
}

#[test]
fn tables_split_for_tensor_parallelism_are_joined_in_the_order_of_ranks() {
    type Name = fn(usize) -> String;
    let names: [Name; 3] = [
        |rank| format!("model{rank}-mp3.safetensors"),
        |rank| format!("model-rank-{rank}-part-0.safetensors"),
        |rank| format!("tp_{rank:02}.safetensors"),
    ];
    for (family, pad) in [
        ("deepseek", true),
        ("demo", false),
        ("longcat", false),
        ("gemma", true),
    ] {
        for name in names {
            let taken = Taken::new(family);
            let is_table = |name: &str| name.contains("embed");
            let tensors = taken.of("embed");
            let parts = split(&tensors, is_table, 3, pad);
            let files: Vec<(String, Tensors)> = (0..3).map(name).zip(parts).collect();
            for (file, tensors) in &files {
                write_tensors(&taken.folder().join(file), tensors);
            }
            let checkpoint = Checkpoint::open(&taken.folder(), None).unwrap();
            has_rows(
                &checkpoint,
                &taken.rows,
                &format!("{family}, {}", files[0].0),
            );

            // One of the ranks is not there.
            fs::remove_file(taken.folder().join(&files[1].0)).unwrap();
            let refused = Checkpoint::open(&taken.folder(), None).unwrap_err();
            assert!(
                matches!(refused, CheckpointError::DuplicateTensor { .. }),
                "{refused}"
            );
            fs::remove_file(taken.folder().join(&files[2].0)).unwrap();
            let refused = Checkpoint::open(&taken.folder(), None).unwrap_err();
            assert!(
                matches!(
                    refused,
                    CheckpointError::RowCount { .. } | CheckpointError::Tensor { .. }
                ),
                "{refused}"
            );
        }
    }
    // Files that are no ranks do not go together, however their rows fit.
    let taken = Taken::new("demo");
    let parts = split(&taken.of("embed"), |_| true, 2, false);
    for (file, tensors) in ["a.safetensors", "b.safetensors"].iter().zip(parts) {
        write_tensors(&taken.folder().join(file), &tensors);
    }
    let refused = Checkpoint::open(&taken.folder(), None).unwrap_err();
    assert!(
        matches!(refused, CheckpointError::DuplicateTensor { .. }),
        "{refused}"
    );
}

#[test]
fn longcats_leave_out_the_tokens_of_their_scope_where_they_say_so() {
    let tokens = |edit: &dyn Fn(&mut Value)| {
        let fixture = Fixture::new("longcat");
        edit_json(&fixture.checkpoint().join("config.json"), edit);
        let checkpoint = Checkpoint::open(&fixture.checkpoint(), None)?;
        let boundary = checkpoint.scheme.boundary.unwrap();
        assert_eq!(boundary.rule, BoundaryRule::Dead);
        Ok::<_, CheckpointError>(boundary.tokens)
    };
    let with = |exclude: Value, scope: &'static str| {
        tokens(&move |json: &mut Value| {
            json["ngram_exclude_sp_token"] = exclude.clone();
            json["special_token_scope"] = scope.into();
            json["ngram_fix_normalize_factor"] = true.into();
        })
    };
    assert_eq!(
        with(true.into(), "0:4,36:38").unwrap(),
        [2, 0, 1, 3, 36, 37]
    );
    assert_eq!(with(1.into(), "7:8").unwrap(), [2, 7]);
    assert_eq!(with(false.into(), "0:4").unwrap(), [2]);
    assert_eq!(with(Value::Null, "0:4").unwrap(), [2]);
    for scope in [
        "",
        "4",
        "4:4",
        "5:4",
        "a:b",
        "0:65",
        "0:4,",
        "0:4294967296",
        "-1:4",
    ] {
        let refused = with(true.into(), scope).unwrap_err().to_string();
        assert!(
            refused.contains("special_token_scope"),
            "{scope}: {refused}"
        );
    }
    let large = tokens(&|json: &mut Value| {
        json["vocab_size"] = u32::MAX.into();
        json["ngram_vocab_size_ratio"] = 1.into();
        json["ngram_exclude_sp_token"] = true.into();
        json["special_token_scope"] = "0:4294967295".into();
    });
    let refused = large.unwrap_err().to_string();
    assert!(refused.contains("at most 4096 tokens"), "{refused}");
    let used = |used: bool| tokens(&move |json: &mut Value| json["use_oe_embedding"] = used.into());
    assert_eq!(used(true).unwrap(), [2]);
    assert!(
        used(false)
            .unwrap_err()
            .to_string()
            .contains("`use_oe_embedding` is false")
    );
    let refused = with("yes".into(), "0:4").unwrap_err().to_string();
    assert!(refused.contains("true or false"), "{refused}");
}

#[test]
fn columns_of_longcats_may_have_their_older_names() {
    let taken = Taken::new("longcat-2");
    let renamed = taken.tensors.iter().map(|(name, fields, bytes)| {
        let name = name.replace("ngram_embeddings.embedders.", "oe_embed_tokens");
        (name, fields.clone(), bytes.clone())
    });
    taken.write(&[("model.safetensors", renamed.collect())], false);
    let checkpoint = Checkpoint::open(&taken.folder(), None).unwrap();
    assert!(
        checkpoint.tables[0].planes[0].segments[3]
            .tensor
            .ends_with("oe_embed_tokens3.weight")
    );
    has_rows(&checkpoint, &taken.rows, "older names");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one case after another")]
fn configurations_of_new_families_that_make_no_sense_are_refused() {
    let edit = |place: &'static str, value: Value| {
        move |json: &mut Value| *json.pointer_mut(place).unwrap() = value.clone()
    };
    let layer_width = "/text_config/hidden_size_per_layer_input";
    let scheme = "/over_encoding/scheme";
    let cases: Vec<(&str, Edit, &str)> = vec![
        (
            "gemma",
            Box::new(edit(layer_width, 0.into())),
            "have no per-layer embeddings",
        ),
        (
            "gemma",
            Box::new(edit(layer_width, 33.into())),
            "width is 96, expected 99",
        ),
        (
            "gemma",
            Box::new(edit(layer_width, u32::MAX.into())),
            "width",
        ),
        (
            "gemma",
            Box::new(edit("/text_config/pad_token_id", 3.into())),
            "expected 0, whose row",
        ),
        (
            "gemma",
            Box::new(edit("/text_config/vocab_size_per_layer_input", 0.into())),
            "hashed_vocab_size is 0",
        ),
        (
            "gemma",
            Box::new(edit("/text_config/vocab_size_per_layer_input", 91.into())),
            "has 90 rows",
        ),
        (
            "over-encoding",
            Box::new(edit("/over_encoding", json!(7))),
            "an object with `scheme` and `rows`",
        ),
        (
            "over-encoding",
            Box::new(edit(scheme, json!({}))),
            "missing field `name`",
        ),
        (
            "over-encoding",
            Box::new(|json: &mut Value| json["over_encoding"]["salt"] = 1.into()),
            "unknown field `salt`",
        ),
        (
            "over-encoding",
            Box::new(|json: &mut Value| json["ngram_salt"] = 1.into()),
            "`ngram_salt`",
        ),
        (
            "over-encoding",
            Box::new(edit("/over_encoding/scheme/vocab_size", 39.into())),
            "compressed vocabulary of the tokenizer is 40, expected at most 39",
        ),
        (
            "over-encoding",
            Box::new(edit("/over_encoding/scheme/heads", 3.into())),
            "bases is 2",
        ),
        (
            "over-encoding",
            Box::new(edit("/over_encoding/rows/width", 25.into())),
            "width is 24, expected 25",
        ),
        (
            "over-encoding",
            Box::new(edit(
                "/over_encoding/rows/values",
                "x.{column}.weight".into(),
            )),
            "no tensor named `x.0.weight`",
        ),
        (
            "over-encoding",
            Box::new(edit(
                "/over_encoding/rows/values",
                "shard_0.".repeat(30).into(),
            )),
            "one part of which begins with `shard_`",
        ),
        (
            "over-encoding",
            Box::new(edit("/over_encoding/rows/values", "x".repeat(257).into())),
            "at most 256 bytes",
        ),
        (
            "over-encoding",
            Box::new(|json: &mut Value| {
                let layers = json.pointer_mut("/over_encoding/scheme/layers").unwrap();
                let sizes = layers.as_array_mut().unwrap().iter_mut();
                let mut sizes = sizes.filter_map(|layer| layer["sizes"].get_mut("each"));
                *sizes.next().unwrap() = json!(vec![16; 100_000]);
            }),
            "sizes is 100000, expected 4, one for each column",
        ),
    ];
    for (index, (family, edit, expected)) in cases.into_iter().enumerate() {
        let fixture = Fixture::new(family);
        edit_json(&fixture.checkpoint().join("config.json"), edit);
        let refused = Checkpoint::open(&fixture.checkpoint(), None).unwrap_err();
        assert!(
            refused.to_string().contains(expected),
            "case {index}: {refused}"
        );
    }
}
