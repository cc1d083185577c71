//! `edit`: entries set, listed, carried elsewhere and folded into a new pack.

#![cfg(feature = "overlay")]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "numbers of tests are small"
)]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Result;
use common::{Folder, fails, ok};
use engram::{Batch, Config, LayerId, RowId, RowIds, Sequence, Store, read_manifest};
use engram_overlay::{Durability, Edits, Key, Overlay, OverlayReader, Snapshot};
use engram_pack::{CompactOptions, CompactReport, Progress, Stop, compact, compacted_bytes};
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
}

/// Values of the rows of three tokens in the first layer.
fn values(pack: &str, overlay: impl AsRef<Path>) -> Vec<f32> {
    let reader = OverlayReader::open(pack, overlay).unwrap();
    look_up(pack, Config::new().tier(reader.rows()))
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
    let found = values(&case.pack, &case.overlay);
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
    let before = values(&case.pack, &case.overlay);
    let lines = case.folder.at("edits.jsonl");
    assert_eq!(case.edit(&["export", "-o", &lines])["entries"], 82);
    let again = case.folder.at("again");
    ok(&["edit", &case.pack, &again, "import", &lines]);
    assert_eq!(values(&case.pack, &again), before);
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
    let before = values(&case.pack, &case.overlay);
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
    assert_eq!(values(&out, &ngrams), before);
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
fn a_cold_pack_is_compacted_to_the_pack_that_its_packed_one_gives() {
    let case = Case::new();
    fill(&case);
    let [cold, of_packed, of_cold] =
        ["cold", "of-packed", "of-cold"].map(|name| case.folder.at(name));
    let [n1, n2] = ["n1", "n2"].map(|name| case.folder.at(name));
    ok(&["freeze", &case.pack, "-o", &cold]);
    case.edit(&["compact", "-o", &of_packed, "--ngrams", &n1]);
    // The overlay belongs to both.
    ok(&[
        "edit",
        &cold,
        &case.overlay,
        "compact",
        "-o",
        &of_cold,
        "--ngrams",
        &n2,
    ]);
    same_packs(&of_packed, &of_cold);
    assert_eq!(values(&of_cold, &n2), values(&cold, &case.overlay));
}

#[test]
fn compaction_finds_stripes_and_a_checkpoint_that_have_moved() {
    let case = Case::new();
    fill(&case);
    let [whole, checkpoint] = ["whole", "checkpoint"].map(|name| case.folder.at(name));
    let ngrams = case.folder.at("ngrams");
    case.edit(&["compact", "-o", &whole, "--ngrams", &ngrams]);

    let [striped, stripe, moved] = ["striped", "stripe", "moved"].map(|name| case.folder.at(name));
    ok(&[
        "build",
        &checkpoint,
        "-o",
        &striped,
        "--stripe",
        &striped,
        "--stripe",
        &stripe,
    ]);
    fs::rename(&stripe, &moved).unwrap();
    let [out, n1] = ["of-striped", "n1"].map(|name| case.folder.at(name));
    let compact = [
        "edit",
        &striped,
        &case.overlay,
        "compact",
        "-o",
        &out,
        "--ngrams",
        &n1,
    ];
    let refused = fails(&compact);
    assert!(refused.contains(&stripe), "{refused}");
    assert!(!Path::new(&out).exists(), "it was not begun");
    ok(&[&compact[..], &["--stripe", &format!("1={moved}")]].concat());
    same_packs(&whole, &out);

    let [attached, elsewhere] = ["attached", "elsewhere"].map(|name| case.folder.at(name));
    ok(&["attach", &checkpoint, "-o", &attached]);
    fs::rename(&checkpoint, &elsewhere).unwrap();
    let (overlay, lines) = (case.folder.at("of-attached"), case.folder.at("lines"));
    case.edit(&["export", "-o", &lines]);
    ok(&["edit", &attached, &overlay, "import", &lines]);
    let [out, n2] = ["from-attached", "n2"].map(|name| case.folder.at(name));
    let compact = [
        "edit", &attached, &overlay, "compact", "-o", &out, "--ngrams", &n2,
    ];
    let refused = fails(&compact);
    assert!(refused.contains(&checkpoint), "{refused}");
    assert!(!Path::new(&out).exists(), "it was not begun");
    ok(&[&compact[..], &["--checkpoint", &elsewhere]].concat());
    same_packs(&whole, &out);
}

#[test]
fn exact_n_grams_go_to_a_new_overlay_and_to_no_other() {
    let case = Case::new();
    fill(&case);
    let (out, ngrams) = (case.folder.at("folded"), case.folder.at("ngrams"));
    fs::create_dir(&ngrams).unwrap();
    fs::write(Path::new(&ngrams).join("mine"), b"mine").unwrap();
    let refused = case.fails(&["compact", "-o", &out, "--ngrams", &ngrams]);
    assert!(refused.contains("is not empty"), "{refused}");
    let refused = case.fails(&["compact", "-o", &out, "--ngrams", &case.overlay]);
    assert!(refused.contains("is not empty"), "{refused}");
    assert!(!Path::new(&out).exists(), "it was not begun");
    // An empty folder will do.
    fs::remove_file(Path::new(&ngrams).join("mine")).unwrap();
    case.edit(&["compact", "-o", &out, "--ngrams", &ngrams]);
}

#[test]
fn a_pack_without_n_grams_says_so() {
    let folder = Folder::new();
    let [checkpoint, pack, overlay] = ["checkpoint", "pack", "overlay"].map(|name| folder.at(name));
    ok(&[
        "synth",
        "--scheme",
        "gemma-4",
        "--scale",
        "1000",
        "-o",
        &checkpoint,
    ]);
    ok(&["build", &checkpoint, "-o", &pack]);
    let table = read_manifest(&pack).unwrap().tables.remove(0);
    let layer = table.layer.to_string();
    let row = format!("{:?}", vec![0.5; table.codec.width()]);
    let set = [
        "edit", &pack, &overlay, "set", "--layer", &layer, "--values", &row,
    ];
    for entry in [["--tokens", "5,6"], ["--ngram", "6,5"], ["--tokens", "5"]] {
        let refused = fails(&[&set[..], &entry].concat());
        assert!(refused.contains("edit its rows by their ids"), "{refused}");
    }
    ok(&[&set[..], &["--row", "5"]].concat());
    ok(&["edit", &pack, &overlay, "stat"]);
    let out = folder.at("folded");
    ok(&["edit", &pack, &overlay, "compact", "-o", &out]);
    ok(&["verify", &out]);
}

/// Every file of the pack in the folder `pack`, by its path.
fn files(pack: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::from(pack)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(pack).unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Asserts that two folders have the same pack, to the bit.
fn same_packs(one: &str, other: &str) {
    let (one, other) = (files(one), files(other));
    assert!(one.keys().eq(other.keys()));
    for (path, bytes) in &one {
        assert!(*bytes == other[path], "{}", path.display());
    }
}

impl Case {
    fn snapshot(&self) -> Snapshot {
        let reader = OverlayReader::open(&self.pack, &self.overlay).unwrap();
        reader.snapshot()
    }

    /// Compacts by one thread.
    fn compact(
        &self,
        edits: &Snapshot,
        [out, ngrams]: [&str; 2],
        (resume, stop): (bool, &Stop),
        progress: Progress<'_>,
    ) -> Result<CompactReport> {
        let options = CompactOptions {
            jobs: 1,
            resume,
            stop: stop.clone(),
            ..CompactOptions::default()
        };
        let (pack, out) = (Path::new(&self.pack), Path::new(out));
        compact(
            pack,
            edits,
            out,
            Some(Path::new(ngrams)),
            &options,
            progress,
        )
    }

    /// An edit that takes an entry of [`fill`] away.
    fn without(&self, key: Key) -> Edits {
        let mut edits = Edits::new();
        edits.remove(LayerId(self.layer.parse().unwrap()), key);
        edits
    }
}

fn shards_of(pack: &str) -> usize {
    let paths = files(pack).into_keys();
    paths
        .filter(|path| path.extension().is_some_and(|kind| kind == "shard"))
        .count()
}

#[test]
fn a_compaction_that_was_stopped_is_gone_on_with_by_itself_alone() {
    let case = Case::new();
    fill(&case);
    let snapshot = case.snapshot();
    let [whole, n1, part, n2] = ["whole", "n1", "part", "n2"].map(|name| case.folder.at(name));
    let (stop, on) = (Stop::default(), Stop::default());
    case.compact(&snapshot, [&whole, &n1], (false, &on), &|_| ())
        .unwrap();

    // Ended when half of it is written.
    let (done, mark) = (AtomicU64::new(0), Path::new(&part).join("build.unfinished"));
    let half = compacted_bytes(Path::new(&case.pack)).unwrap() / 2;
    let each = |bytes: u64| {
        assert!(mark.exists(), "a build would begin beside it");
        if done.fetch_add(bytes, Ordering::Relaxed) + bytes > half {
            stop.stop();
        }
    };
    let refused = case
        .compact(&snapshot, [&part, &n2], (false, &stop), &each)
        .unwrap_err();
    assert!(format!("{refused:#}").contains("stopped"), "{refused:#}");
    assert!(!Path::new(&n2).exists());
    let run = |edits: &Snapshot, resume| case.compact(edits, [&part, &n2], (resume, &on), &|_| ());
    let refused = run(&snapshot, false).unwrap_err();
    assert!(refused.to_string().contains("--resume"), "{refused}");

    // Neither one of other edits nor a build goes on with it.
    let overlay = Overlay::open(&case.pack, &case.overlay, Durability::Drive).unwrap();
    overlay.write(&case.without(Key::Row(RowId(30)))).unwrap();
    drop(overlay);
    let refused = run(&case.snapshot(), true).unwrap_err();
    assert!(refused.to_string().contains("is of another"), "{refused}");
    let checkpoint = case.folder.at("checkpoint");
    for resume in [&["--resume"][..], &[]] {
        let refused = fails(&[&["build", &checkpoint, "-o", &part], resume].concat());
        assert!(refused.contains("unfinished build"), "{refused}");
    }

    let report = run(&snapshot, true).unwrap();
    assert_eq!(report.shards, shards_of(&whole));
    assert!(
        (1..report.shards).contains(&report.shards_resumed),
        "{report:?}"
    );
    same_packs(&whole, &part);
    assert_eq!(values(&part, &n2), values(&whole, &n1));
}

#[test]
fn a_compaction_that_was_killed_near_its_end_is_gone_on_with() {
    let case = Case::new();
    fill(&case);
    let snapshot = case.snapshot();
    let [whole, n1, part, n2] = ["whole", "n1", "part", "n2"].map(|name| case.folder.at(name));
    let on = Stop::default();
    case.compact(&snapshot, [&whole, &n1], (false, &on), &|_| ())
        .unwrap();
    let mark = Path::new(&part).join("build.unfinished");
    let stolen = Mutex::new(String::new());
    let steal = |_: u64| *stolen.lock().unwrap() = fs::read_to_string(&mark).unwrap();
    case.compact(&snapshot, [&part, &n2], (false, &on), &steal)
        .unwrap();
    let task = stolen.into_inner().unwrap();
    let resume = || {
        fs::write(&mark, &task).unwrap();
        case.compact(&snapshot, [&part, &n2], (true, &on), &|_| ())
    };
    // As if it had been killed before the token map and the manifest, then as if only the mark had been left.
    for is_early in [true, false] {
        if is_early {
            for name in ["manifest.json", "token_map.u32le"] {
                let path = Path::new(&part).join(name);
                assert!(!path.exists() || fs::remove_file(path).is_ok());
            }
            fs::remove_dir_all(&n2).unwrap();
        }
        assert_eq!(resume().unwrap().shards_resumed, shards_of(&whole));
        same_packs(&whole, &part);
        assert_eq!(values(&part, &n2), values(&whole, &n1));
    }

    // An overlay that has got other entries meanwhile is not taken for the run's own.
    let overlay = Overlay::open(&part, &n2, Durability::Drive).unwrap();
    overlay
        .write(&case.without(Key::NGram(vec![6, 5])))
        .unwrap();
    drop(overlay);
    let refused = resume().unwrap_err();
    assert!(
        format!("{refused:#}").contains("other entries"),
        "{refused:#}"
    );
}
