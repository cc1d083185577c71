//! `edit`: entries set, listed, carried elsewhere and folded into a new pack.

#![cfg(feature = "overlay")]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "numbers of tests are small"
)]

mod common;

use std::{fs, path::Path};

use common::{Folder, fails, ok};
use engram::{Batch, Config, LayerId, RowId, RowIds, Sequence, Store, read_manifest};
use engram_overlay::{Durability, Edits, Key, Overlay, OverlayReader};
use engram_pack::{CompactOptions, compact};
use serde_json::Value;

const TOKENIZER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../reference/model/tests/golden/engram_v41/tokenizer.json"
);

struct Case {
    folder: Folder,
    pack: String,
    overlay: String,
    layer: String,
    width: usize,
}

impl Case {
    fn new() -> Self {
        let folder = Folder::new();
        let checkpoint = folder.synth("longcat-flash-lite", "checkpoint");
        let pack = folder.at("pack");
        ok(&["build", &checkpoint, "-o", &pack]);
        let table = read_manifest(&pack).unwrap().tables.remove(0);
        Self {
            overlay: folder.at("overlay"),
            pack,
            layer: table.layer.to_string(),
            width: table.codec.width(),
            folder,
        }
    }

    fn edit(&self, args: &[&str]) -> Value {
        let args = [&["edit", &self.pack, &self.overlay][..], args, &["--json"]].concat();
        let mut report: Value = serde_json::from_str(&ok(&args)).unwrap();
        report["report"].take()
    }

    fn fails(&self, args: &[&str]) -> String {
        fails(&[&["edit", &self.pack, &self.overlay][..], args].concat())
    }

    fn row(&self, value: f32) -> String {
        format!("{:?}", vec![value; self.width])
    }

    /// Values of the rows of three tokens in the first layer.
    fn values(&self, pack: &str, overlay: &str) -> Vec<f32> {
        let reader = OverlayReader::open(pack, overlay).unwrap();
        look_up(pack, Config::new().tier(reader.rows()))
    }
}

fn look_up(pack: &str, config: Config) -> Vec<f32> {
    let store = Store::open(pack, config).unwrap();
    let mut ids = RowIds::with_ngrams();
    store
        .hasher()
        .extend(&mut Sequence::new(), &[5, 6, 7], &mut ids)
        .unwrap();
    let batch = ids.batches().next().unwrap();
    let mut values = vec![0.0; batch.len() * store.codec(batch.layer()).unwrap().width()];
    store.lookup_values(batch, &mut values[..]).unwrap();
    values
}

#[test]
fn entries_are_set_shown_and_taken_away() {
    let case = Case::new();
    let layer = ["--layer", &case.layer];
    let set = |args: &[&str]| case.edit(&[&["set"][..], &layer, args].concat());
    assert!(
        case.fails(&["list"]).contains("overlay"),
        "there is none yet"
    );
    assert_eq!(
        set(&["--row", "3", "--values", &case.row(0.5)])["version"],
        1
    );

    // An n-gram by its tokens, in the order of the text; every head has a row of its own.
    let manifest = read_manifest(&case.pack).unwrap();
    let heads = manifest.scheme.heads as usize;
    let rows: Vec<Vec<f32>> = (0..heads)
        .map(|head| vec![head as f32 + 1.0; case.width])
        .collect();
    let file = case.folder.at("rows.json");
    fs::write(&file, serde_json::to_string(&rows).unwrap()).unwrap();
    assert_eq!(set(&["--tokens", "5,6", "--from", &file])["version"], 2);
    let found = case.values(&case.pack, &case.overlay);
    let columns = manifest.scheme.column_count();
    let row = |token: usize, column: usize| {
        &found[(token * columns + column) * case.width..][..case.width]
    };
    for (head, expected) in rows.iter().enumerate() {
        assert_eq!(row(1, head), expected, "token 6 after token 5");
        assert_ne!(row(2, head), expected, "token 7 after token 6");
    }

    let listed = case.edit(&["list"]);
    assert_eq!(listed["entries"], 2);
    assert_eq!(
        listed["listed"][1]["entry"]["ngram"],
        serde_json::json!([6, 5])
    );
    let get = case.edit(&[&["get"][..], &layer, &["--ngram", "6,5"]].concat());
    assert_eq!(get["values"], serde_json::to_value(&rows).unwrap());
    let stat = case.edit(&["stat"]);
    assert_eq!(stat["layers"][0]["rows"], 1);
    assert_eq!(stat["layers"][0]["ngrams"][0], 1);

    case.edit(&[&["remove"][..], &layer, &["--tokens", "5,6"]].concat());
    let gone = case.fails(&[&["remove"][..], &layer, &["--tokens", "5,6"]].concat());
    assert!(gone.contains("no entry for n-gram 6,5"), "{gone}");
    assert_eq!(case.edit(&["stat"])["version"], 3);

    // By a text of two or more tokens.
    let by_text = ["--prompt", "The sea, the sea", "--tokenizer", TOKENIZER];
    let refused = case.fails(&[&["get"][..], &layer, &by_text].concat());
    assert!(
        refused.contains("tokens") || refused.contains("no entry"),
        "{refused}"
    );
}

#[test]
fn rows_that_do_not_fit_are_refused_and_nothing_is_made() {
    let case = Case::new();
    let layer = ["--layer", &case.layer];
    let refused = |args: &[&str]| case.fails(&[&["set"][..], args].concat());
    let short = &format!("{:?}", vec![0.5; case.width - 1]);
    let set_row =
        |values: &str| refused(&[&layer[..], &["--row", "3", "--values", values]].concat());
    assert!(set_row(short).contains("values for 1 rows"));
    assert!(set_row("[\"a\"]").contains("is no number"));
    let row = &case.row(0.5);
    let far = refused(&[&layer[..], &["--row", "99999999999", "--values", row]].concat());
    assert!(far.contains("outside the table"), "{far}");
    let long = refused(
        &[
            &layer[..],
            &["--tokens", "1,2,3,4,5,6,7,8,9", "--values", row],
        ]
        .concat(),
    );
    assert!(long.contains("n-grams of 2 to"), "{long}");
    let layer = refused(&["--layer", "77", "--row", "3", "--values", row]);
    assert!(layer.contains("layer 77 has no table"), "{layer}");
    let lines = case.folder.at("edits.jsonl");
    let good = format!(
        "{{\"layer\": {}, \"row\": 1, \"values\": {row}}}",
        case.layer
    );
    fs::write(&lines, format!("{good}\n{{\"layer\": 1}}\n")).unwrap();
    assert!(case.fails(&["import", &lines]).contains("line 2"));
    fs::write(
        &lines,
        format!(
            "{good}\n{}",
            good.replace("\"row\": 1", "\"row\": 999999999")
        ),
    )
    .unwrap();
    assert!(
        case.fails(&["import", &lines])
            .contains("outside the table")
    );
    // The overlay was made for the import, and has nothing.
    assert_eq!(case.edit(&["list"])["entries"], 0);
}

/// Some entries of every kind.
fn fill(case: &Case) {
    let overlay = Overlay::open(&case.pack, &case.overlay, Durability::Drive).unwrap();
    let layer = LayerId(case.layer.parse().unwrap());
    let heads = overlay.shape().heads();
    let mut edits = Edits::new();
    for row in 0..80_u64 {
        edits.set(
            layer,
            Key::Row(RowId(row * 3)),
            vec![row as f32 * 0.25; case.width],
        );
    }
    edits.set(layer, Key::NGram(vec![6, 5]), vec![7.0; case.width * heads]);
    edits.set(
        layer,
        Key::NGram(vec![7, 6, 5]),
        vec![9.0; case.width * heads],
    );
    overlay.write(&edits).unwrap();
}

#[test]
fn exported_edits_are_the_same_where_they_are_imported() {
    let case = Case::new();
    fill(&case);
    let before = case.values(&case.pack, &case.overlay);
    let lines = case.folder.at("edits.jsonl");
    assert_eq!(case.edit(&["export", "-o", &lines])["entries"], 82);
    let again = case.folder.at("again");
    ok(&["edit", &case.pack, &again, "import", &lines]);
    assert_eq!(case.values(&case.pack, &again), before);
    let twice = case.folder.at("twice.jsonl");
    ok(&["edit", &case.pack, &again, "export", "-o", &twice]);
    assert_eq!(fs::read(&lines).unwrap(), fs::read(&twice).unwrap());
    // A line without rows takes the entry away.
    let first = fs::read_to_string(&lines).unwrap();
    let mut first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    first.as_object_mut().unwrap().remove("bytes");
    fs::write(&lines, first.to_string()).unwrap();
    ok(&["edit", &case.pack, &again, "import", &lines]);
    assert!(ok(&["edit", &case.pack, &again, "stat"]).contains("79"));
}

#[test]
fn a_compacted_pack_serves_what_pack_and_overlay_did() {
    let case = Case::new();
    fill(&case);
    let before = case.values(&case.pack, &case.overlay);
    let (out, ngrams) = (case.folder.at("folded"), case.folder.at("ngrams"));
    let refused = case.fails(&["compact", "-o", &out]);
    assert!(refused.contains("2 exact n-grams"), "{refused}");
    assert!(!Path::new(&out).exists());
    let report = case.edit(&["compact", "-o", &out, "--ngrams", &ngrams]);
    assert_eq!(
        (&report["rows"], &report["ngrams"]),
        (&80.into(), &2.into())
    );
    ok(&["verify", &out]);
    assert_eq!(case.values(&out, &ngrams), before);
    // The edited rows are the pack's own now.
    let store = Store::open(&out, Config::new()).unwrap();
    let layer = store.scheme().layers[0].id;
    let mut values = vec![0.0_f32; case.width];
    store
        .lookup_values(Batch::new(layer, &[RowId(30)]), &mut values[..])
        .unwrap();
    assert_eq!(values, vec![2.5; case.width]);
    // The old overlay is another pack's.
    let refused = fails(&["edit", &out, &case.overlay, "list"]);
    assert!(refused.contains("edits of the pack"), "{refused}");
}

#[test]
fn a_compaction_that_was_stopped_is_gone_on_with() {
    let case = Case::new();
    fill(&case);
    let reader = OverlayReader::open(&case.pack, &case.overlay).unwrap();
    let snapshot = reader.snapshot();
    let (whole, part) = (case.folder.at("whole"), case.folder.at("part"));
    let [whole_ngrams, part_ngrams] = ["n1", "n2"].map(|name| case.folder.join(name));
    let run = |out: &str, ngrams: &Path, resume: bool| {
        let options = CompactOptions { jobs: 1, resume };
        compact(
            Path::new(&case.pack),
            &snapshot,
            Path::new(out),
            Some(ngrams),
            &options,
            &|_| (),
        )
    };
    run(&whole, &whole_ngrams, false).unwrap();
    run(&part, &part_ngrams, false).unwrap();
    // As if it had been killed before its last shards, and before the manifest.
    let mut files = Vec::new();
    for entry in fs::read_dir(Path::new(&part).join(format!("layer-{:0>2}", case.layer))).unwrap() {
        files.push(entry.unwrap().path());
    }
    files.sort();
    let (kept, gone) = files.split_at(files.len() / 2);
    gone.iter().for_each(|path| fs::remove_file(path).unwrap());
    let task = {
        let other = case.folder.at("task");
        let options = CompactOptions {
            jobs: 1,
            resume: false,
        };
        let mark = Path::new(&other).join("compact.unfinished");
        let stolen = std::sync::Mutex::new(String::new());
        let steal = |_: u64| *stolen.lock().unwrap() = fs::read_to_string(&mark).unwrap();
        let folder = case.folder.join("n3");
        compact(
            Path::new(&case.pack),
            &snapshot,
            Path::new(&other),
            Some(&folder),
            &options,
            &steal,
        )
        .unwrap();
        stolen.into_inner().unwrap()
    };
    let mark = Path::new(&part).join("compact.unfinished");
    fs::write(&mark, &task).unwrap();
    let refused = run(&part, &part_ngrams, false).unwrap_err();
    assert!(refused.to_string().contains("--resume"), "{refused}");
    let report = run(&part, &part_ngrams, true).unwrap();
    assert_eq!(report.shards_resumed, kept.len());
    assert_eq!(report.shards, files.len());
    let manifest = |pack: &str| fs::read(Path::new(pack).join("manifest.json")).unwrap();
    assert!(manifest(&whole) == manifest(&part));
    for path in &files {
        let other = Path::new(&whole).join(path.strip_prefix(&part).unwrap());
        assert!(
            fs::read(path).unwrap() == fs::read(other).unwrap(),
            "{}",
            path.display()
        );
    }
    // Of other edits it is not gone on with.
    fs::write(&mark, task.replace(' ', "0 ")).unwrap();
    let refused = run(&part, &part_ngrams, true).unwrap_err();
    assert!(refused.to_string().contains("other edits"), "{refused}");
}
