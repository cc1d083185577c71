//! A checkpoint without its tables is whole but for them, and can be made again to the bit.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use engram_checkpoint::{Checkpoint, Family, TensorFiles};
use engram_pack::{
    BuildOptions, LEAN_FILE, LeanReport, RestoreOptions, attach, build, lean, restore,
};
use engram_tests::{
    Fixture, Gguf, READERS, files, make_checkpoint, make_pack, open, small_families, small_family,
    whole_tables,
};
use safetensors::{Dtype, SafeTensors, serialize_to_file, tensor::TensorView};
use serde_json::{Value, json};

/// GGUF's number of the type.
const F16: u32 = 1;
const FAMILIES: [&str; 8] = [
    "demo",
    "deepseek",
    "qwen",
    "longcat",
    "long-rows",
    "longcat-2",
    "gemma",
    "over-encoding",
];

fn make_lean(fixture: &Fixture, out: &Path) -> anyhow::Result<LeanReport> {
    let checkpoint = Checkpoint::open(&fixture.checkpoint(), None)?;
    lean(&checkpoint, &fixture.pack(), &[].into(), out, &|_| ())
}

/// That the pack now lies in the folder `pack`.
fn pack_at(pack: &Path) -> RestoreOptions {
    RestoreOptions {
        pack: Some(pack.into()),
        ..RestoreOptions::default()
    }
}

/// Name, type, shape and bytes of each tensor of a file.
fn read_tensors(file: &[u8]) -> Vec<(String, Dtype, Vec<usize>, Vec<u8>)> {
    let tensors = SafeTensors::deserialize(file).unwrap().tensors();
    let tensors = tensors.into_iter();
    tensors
        .map(|(name, view)| (name, view.dtype(), view.shape().into(), view.data().into()))
        .collect()
}

fn is_tensor_file(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "safetensors")
}

/// Names and bytes of all tensors of the files in `folder`.
fn tensors(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = files(folder).into_iter();
    files
        .filter(|(path, _)| is_tensor_file(path))
        .flat_map(|(_, bytes)| read_tensors(&bytes))
        .map(|(name, _, _, bytes)| (name, bytes))
        .collect()
}

/// Names of the tensors of tables.
fn table_tensors(checkpoint: &Path) -> Vec<String> {
    let checkpoint = Checkpoint::open(checkpoint, None).unwrap();
    let planes = checkpoint.tables.iter().flat_map(|table| &table.planes);
    let segments = planes.flat_map(|plane| &plane.segments);
    segments.map(|segment| segment.tensor.clone()).collect()
}

#[test]
fn all_but_the_tables_is_there_and_the_tables_come_back() {
    assert!(small_families().map(|(name, _)| name) == FAMILIES);
    for family in FAMILIES {
        let fixture = Fixture::new(family);
        let checkpoint = fixture.checkpoint();
        fs::create_dir(checkpoint.join("assets")).unwrap();
        fs::write(checkpoint.join("assets/template.jinja"), "hello").unwrap();
        let before = files(&checkpoint);
        let mut expected = tensors(&checkpoint);
        for name in table_tensors(&checkpoint) {
            assert!(expected.remove(&name).is_some(), "{family}: {name}");
        }

        let lean = fixture.folder().join("lean");
        let report = make_lean(&fixture, &lean).unwrap();
        assert!(tensors(&lean) == expected, "{family}");
        let names = report.replaced.iter().map(|file| file.file_name().unwrap());
        let kept = names.filter_map(|name| fs::read(lean.join(name)).ok());
        let kept = kept.flat_map(|file| read_tensors(&file));
        let copied: usize = kept.map(|(_, _, _, bytes)| bytes.len()).sum();
        assert_eq!(report.copied_bytes, copied as u64);
        // What reads a checkpoint by its index finds just these.
        let listed = TensorFiles::open(&lean);
        if expected.is_empty() {
            let index = fs::read(lean.join("model.safetensors.index.json")).unwrap();
            let index: Value = serde_json::from_slice(&index).unwrap();
            assert_eq!(index["weight_map"], json!({}));
        } else {
            let listed = listed.unwrap();
            assert!(
                listed
                    .tensors()
                    .map(|tensor| &tensor.name)
                    .eq(expected.keys()),
                "{family}"
            );
        }
        let of = |folder: &Path| {
            fs::metadata(folder.join("assets/template.jinja"))
                .unwrap()
                .ino()
        };
        assert_eq!(of(&lean), of(&checkpoint));

        fs::remove_dir_all(&checkpoint).unwrap();
        let restored = fixture.folder().join("restored");
        let report = restore(&lean, &RestoreOptions::default(), &restored, &|_| ()).unwrap();
        assert!(files(&restored) == before, "{family}");
        assert!(report.files > 0 && report.symbolic_links == 0);
        // From a pack that has been moved since, too.
        let moved = fixture.folder().join("moved");
        fs::rename(fixture.pack(), &moved).unwrap();
        let again = fixture.folder().join("again");
        restore(&lean, &RestoreOptions::default(), &again, &|_| ()).unwrap_err();
        restore(&lean, &pack_at(&moved), &again, &|_| ()).unwrap();
        assert!(files(&again) == before, "{family}");
    }
}

#[test]
fn a_single_file_with_metadata_other_tensors_and_padding_comes_back() {
    let fixture = Fixture::new("demo");
    let checkpoint = fixture.checkpoint();
    let table = table_tensors(&checkpoint)[0].clone();
    let mut all = Vec::new();
    for (path, bytes) in files(&checkpoint) {
        if is_tensor_file(&path) {
            all.extend(read_tensors(&bytes));
        }
        if path.to_str().unwrap().contains("safetensors") {
            fs::remove_file(checkpoint.join(path)).unwrap();
        }
    }
    for (name, _, shape, bytes) in &mut all {
        if *name == table {
            bytes.resize(bytes.len() / shape[0] * (shape[0] + 42), 0);
            shape[0] += 42;
        }
    }
    all.push(("a.bias".into(), Dtype::U8, vec![3], vec![1, 2, 3]));
    all.push(("z.empty".into(), Dtype::U8, vec![0], vec![]));
    let views = all.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes).unwrap();
        (name.clone(), view)
    });
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    serialize_to_file(views, Some(metadata), &checkpoint.join("model.safetensors")).unwrap();
    fs::remove_dir_all(fixture.pack()).unwrap();
    make_pack(&checkpoint, &fixture.pack());

    let lean = fixture.folder().join("lean");
    make_lean(&fixture, &lean).unwrap();
    let kept = tensors(&lean);
    assert_eq!(kept["a.bias"], [1, 2, 3]);
    assert!(kept.contains_key("z.empty") && !kept.contains_key(&table));
    let bytes = fs::read(lean.join("model.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
    let restored = fixture.folder().join("restored");
    restore(&lean, &RestoreOptions::default(), &restored, &|_| ()).unwrap();
    assert!(files(&restored) == files(&checkpoint));
}

/// The message of a failed call, after which `out` must not be there.
fn refused<T>(result: anyhow::Result<T>, out: &Path) -> String {
    let error = format!("{:#}", result.map(drop).unwrap_err());
    assert!(!out.exists(), "{error}: {:?} is left", files(out));
    error
}

#[test]
fn tables_that_the_pack_does_not_have_are_not_left_out() {
    let fixture = Fixture::new("deepseek");
    let out = fixture.folder().join("lean");
    let checkpoint = Checkpoint::open(&fixture.checkpoint(), None).unwrap();

    let attached = fixture.folder().join("attached");
    attach(&checkpoint, &attached).unwrap();
    let error = refused(
        lean(&checkpoint, &attached, &[].into(), &out, &|_| ()),
        &out,
    );
    assert!(error.contains("has no rows of its own"), "{error}");

    let other = Fixture::new("qwen");
    let error = refused(
        lean(&checkpoint, &other.pack(), &[].into(), &out, &|_| ()),
        &out,
    );
    assert!(error.contains("was not built from"), "{error}");

    // The same sizes and names, other rows.
    let (folder, pack) = (
        fixture.folder().join("newer"),
        fixture.folder().join("newer-pack"),
    );
    make_checkpoint(&small_family("deepseek"), 2, &folder);
    make_pack(&folder, &pack);
    let error = refused(lean(&checkpoint, &pack, &[].into(), &out, &|_| ()), &out);
    assert!(error.contains("build the pack anew"), "{error}");

    damage_a_row(&fixture.pack());
    let error = refused(make_lean(&fixture, &out), &out);
    assert!(error.contains("is damaged"), "{error}");

    // A finished lean checkpoint is not overwritten; what a killed run has left is.
    let fixture = Fixture::new("deepseek");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("lean.unfinished"), "lean\n").unwrap();
    fs::write(out.join("config.json"), "half of").unwrap();
    make_lean(&fixture, &out).unwrap();
    let before = files(&out);
    let error = format!("{:#}", make_lean(&fixture, &out).unwrap_err());
    assert!(error.contains("is a lean checkpoint already"), "{error}");
    assert!(files(&out) == before);
}

fn damage_a_row(pack: &Path) {
    let mut shards = files(pack)
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|e| e == "shard"));
    let (path, mut bytes) = shards.next_back().unwrap();
    let at = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    bytes[at] ^= 1;
    fs::write(pack.join(path), bytes).unwrap();
}

#[test]
fn nothing_but_the_checkpoint_is_restored() {
    let fixture = Fixture::new("deepseek");
    let [lean, out] = ["lean", "out"].map(|name| fixture.folder().join(name));
    make_lean(&fixture, &lean).unwrap();

    let error = refused(
        restore(
            &fixture.checkpoint(),
            &RestoreOptions::default(),
            &out,
            &|_| (),
        ),
        &out,
    );
    assert!(error.contains("is no lean checkpoint"), "{error}");

    let other = Fixture::new("qwen");
    let error = refused(restore(&lean, &pack_at(&other.pack()), &out, &|_| ()), &out);
    assert!(error.contains("is another pack"), "{error}");

    let record = lean.join(LEAN_FILE);
    let text = fs::read_to_string(&record).unwrap();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_str(&text).unwrap();
        change(&mut value);
        fs::write(&record, value.to_string()).unwrap();
        refused(
            restore(&lean, &RestoreOptions::default(), &out, &|_| ()),
            &out,
        )
    };
    let error = changed(&|value| value["files"][0]["name"] = "../escaped".into());
    assert!(error.contains("`../escaped` is no file name"), "{error}");
    let error = changed(&|value| value["version"] = 2.into());
    assert!(
        error.contains("version is 2, this release reads 1"),
        "{error}"
    );
    let error = changed(&|value| value["format"] = "other".into());
    assert!(
        error.contains("format is \"other\", expected \"engram-lean\""),
        "{error}"
    );
    let error = changed(&|value| value["files"][0]["pieces"][0]["row_count"] = 7.into());
    assert!(error.contains("would not be what it was"), "{error}");
    let error = changed(&|value| value["files"][0]["pieces"][0]["row_count"] = u64::MAX.into());
    assert!(error.contains("cannot make"), "{error}");
    // All of a table again and again.
    let error = changed(&|value| {
        let pieces = value["files"][0]["pieces"].as_array_mut().unwrap();
        *pieces = vec![pieces.clone(); 9].concat();
    });
    assert!(error.contains("it would be longer than"), "{error}");
    fs::write(&record, text).unwrap();

    damage_a_row(&fixture.pack());
    let error = refused(
        restore(&lean, &RestoreOptions::default(), &out, &|_| ()),
        &out,
    );
    assert!(error.contains("is damaged"), "{error}");
}

#[test]
fn links_of_a_hubs_cache_are_followed() {
    let fixture = Fixture::new("longcat");
    let checkpoint = fixture.checkpoint();
    let blobs = fixture.folder().join("blobs");
    fs::rename(&checkpoint, &blobs).unwrap();
    fs::create_dir(&checkpoint).unwrap();
    let expected = files(&blobs);
    for (name, _) in &expected {
        let blob = PathBuf::from("../blobs").join(name);
        std::os::unix::fs::symlink(blob, checkpoint.join(name)).unwrap();
    }
    let [lean, out] = ["lean", "out"].map(|name| fixture.folder().join(name));
    make_lean(&fixture, &lean).unwrap();
    fs::remove_dir_all(&checkpoint).unwrap();
    fs::remove_dir_all(&blobs).unwrap();
    restore(&lean, &RestoreOptions::default(), &out, &|_| ()).unwrap();
    assert!(files(&out) == expected);
}

#[test]
fn the_table_of_a_gguf_becomes_a_hole_and_comes_back() {
    let scheme = small_family("qwen").scheme(None).unwrap();
    hole_and_back(Gguf::qwen(&scheme, F16, 256, 512));
    // Its rows have their scales beside the values, in one plane.
    let fixture = Fixture::new("deepseek");
    let checkpoint = Checkpoint::open(&fixture.checkpoint(), None).unwrap();
    let tables = whole_tables(&open(&fixture.pack(), READERS[0]));
    let row_bytes = checkpoint.tables[0].codec.row_bytes() as u64;
    let map = checkpoint.token_map.unwrap();
    hole_and_back(Gguf::deepseek(&checkpoint.scheme, &map, row_bytes, &tables));
}

fn hole_and_back(model: Gguf) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("models")).unwrap();
    model.write(&at("models/model.gguf"));
    fs::write(at("models/other.gguf"), "another model").unwrap();
    let before = fs::read(at("models/model.gguf")).unwrap();

    let checkpoint = Checkpoint::open(&at("models/model.gguf"), None).unwrap();
    build(&checkpoint, &at("pack"), &BuildOptions::default(), &|_| ()).unwrap();
    let report = lean(&checkpoint, &at("pack"), &[].into(), &at("lean"), &|_| ()).unwrap();
    assert_eq!(report.replaced, [at("models/model.gguf")]);
    let found = files(&at("lean"));
    let names: Vec<&Path> = found.iter().map(|(path, _)| path.as_path()).collect();
    assert_eq!(names, [Path::new(LEAN_FILE), Path::new("model.gguf")]);

    // Every byte is at its place but for the rows, which are zeros and take no space.
    let hollow = fs::read(at("lean/model.gguf")).unwrap();
    let mut expected = before.clone();
    for plane in checkpoint.tables.iter().flat_map(|table| &table.planes) {
        for segment in &plane.segments {
            let start = usize::try_from(segment.offset).unwrap();
            let bytes = usize::try_from(segment.row_count * plane.row_bytes).unwrap();
            expected[start..start + bytes].fill(0);
        }
    }
    assert!(hollow == expected);
    let blocks = |path: &Path| fs::metadata(path).unwrap().blocks();
    assert!(blocks(&at("lean/model.gguf")) < blocks(&at("models/model.gguf")));

    fs::remove_dir_all(at("models")).unwrap();
    restore(
        &at("lean"),
        &RestoreOptions::default(),
        &at("restored"),
        &|_| (),
    )
    .unwrap();
    assert!(files(&at("restored")) == [(PathBuf::from("model.gguf"), before)]);
}

#[test]
fn rows_that_no_token_reads_come_back_too() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let Family::Qwen(mut config) = small_family("qwen") else {
        unreachable!("the family of that name")
    };
    config.row_multiple = 512;
    make_checkpoint(&Family::Qwen(config), 1, &at("checkpoint"));
    make_pack(&at("checkpoint"), &at("pack"));
    let checkpoint = Checkpoint::open(&at("checkpoint"), None).unwrap();
    let layer = &checkpoint.scheme.layers[0];
    assert!(
        layer.buckets.iter().sum::<u64>() < layer.row_count,
        "there are some"
    );
    let before = files(&at("checkpoint"));
    lean(&checkpoint, &at("pack"), &[].into(), &at("lean"), &|_| ()).unwrap();
    fs::remove_dir_all(at("checkpoint")).unwrap();
    restore(
        &at("lean"),
        &RestoreOptions::default(),
        &at("restored"),
        &|_| (),
    )
    .unwrap();
    assert!(files(&at("restored")) == before);
}
