//! The commands that look into a model.

#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "tests fail by panicking, and are of few values"
)]

mod command;
mod golden;

use std::{
    fs,
    path::{Path, PathBuf},
};

use roxmltree::Document;
use serde_json::Value;
use tempfile::TempDir;

use command::{fails, succeeds, text};
use golden::{golden, pack};

const PROMPT: &str =
    "The cat sat on the mat, and the cat sat <on> the 42 mats & more.\nThe dog did too.";

/// A golden model, its pack, and a copy of it without Engram.
struct Models {
    folder: TempDir,
    model: PathBuf,
    pack: PathBuf,
}

impl Models {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = golden(name);
        let pack = pack(&model, &folder);
        Self {
            folder,
            model,
            pack,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same decoder in the folder `name`, whose configuration is changed by `change`.
    fn copy(&self, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
        let copy = self.path(name);
        fs::create_dir(&copy).unwrap();
        for file in ["config.json", "model.safetensors", "tokenizer.json"] {
            fs::copy(self.model.join(file), copy.join(file)).unwrap();
        }
        edit(&copy.join("config.json"), change);
        copy
    }

    fn without_engram(&self) -> PathBuf {
        self.copy("plain", |config| {
            let fields = config.as_object_mut().unwrap();
            fields.remove("n_embed_per_ngram").unwrap();
        })
    }

    /// Runs a command on [`PROMPT`]: what it prints, and its JSON.
    fn told(&self, command: &str, args: &[&str]) -> (String, Value) {
        let models = ["--model", text(&self.model), "--pack", text(&self.pack)];
        let prompt = ["--prompt", PROMPT, "--json"];
        succeeds(&[&[command], &models[..], &prompt, args].concat())
    }

    /// As [`Self::told`], and the texts in its picture.
    fn look(&self, command: &str, args: &[&str]) -> (String, Value, Vec<String>) {
        let plot = self.path("out.svg");
        let outputs = ["--json", "--plot", text(&plot)];
        let models = ["--model", text(&self.model), "--pack", text(&self.pack)];
        let prompt = ["--prompt", PROMPT];
        let args = [&[command], &models[..], &prompt, &outputs, args].concat();
        let (out, report) = succeeds(&args);
        let picture = fs::read_to_string(&plot).unwrap();
        let picture = Document::parse(&picture).unwrap();
        let texts = picture
            .descendants()
            .filter(|node| node.has_tag_name("text"));
        let texts = texts.map(|node| node.text().unwrap().trim().to_owned());
        (out, report, texts.collect())
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// All gates of a token.
fn gates(token: &Value) -> Vec<f64> {
    let layers = list(&token["gates"]).iter();
    layers
        .flat_map(|copies| list(copies).iter().map(number))
        .collect()
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-5
}

#[test]
fn gates_are_shown_for_every_token() {
    let models = Models::new("engram_v41");
    let (out, report, texts) = models.look("gates", &[]);
    let tokens = list(&report["tokens"]);
    let read: String = tokens
        .iter()
        .map(|token| token["text"].as_str().unwrap())
        .collect();
    assert_eq!(read, PROMPT);
    for token in tokens {
        assert_eq!(list(&token["gates"]).len(), 2);
        assert_eq!(gates(token).len(), 2 * 4);
        assert!(gates(token).iter().all(|gate| (0.0..=1.0).contains(gate)));
    }
    let layers = list(&report["layers"]);
    let ids: Vec<u64> = layers
        .iter()
        .map(|of| of["layer"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [0, 2]);
    for (index, layer) in layers.iter().enumerate() {
        let all = tokens
            .iter()
            .flat_map(|token| list(&token["gates"][index]).iter().map(number));
        let all: Vec<f64> = all.collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        assert!(near(mean, number(&layer["mean"])));
        let open = |list: &Value| number(&list[0]["gate"]);
        assert!(open(&layer["most_open"]) > open(&layer["least_open"]));
    }
    let all = &report["groupings"][0]["classes"][0];
    let mean = tokens[1..].iter().map(|token| {
        let copies = list(&token["gates"][1]).iter().map(number);
        copies.sum::<f64>() / 4.0 / (tokens.len() - 1) as f64
    });
    assert!(near(mean.sum(), number(&all["gates"][1])));
    // The 3-gram that ends in the token whose copies have the greatest mean.
    let most = &layers[0]["most_open"][0];
    let opened = |token: &Value| list(&token["gates"][0]).iter().map(number).sum::<f64>() / 4.0;
    let best = tokens[2..].iter().map(opened).fold(0.0, f64::max);
    assert!(near(number(&most["gate"]), best));
    for part in [
        "Engram layer",
        "3-grams that open the gates of layer 2 least",
    ] {
        assert!(out.contains(part), "{part} is not in: {out}");
    }
    // Signs of XML are read back as they were.
    for label in ["layer 0, copy 1", "layer 2, copy 4", "<", "&", "1.00"] {
        assert!(
            texts.iter().any(|text| text == label),
            "{label} is not in {texts:?}"
        );
    }

    // A window begins anew.
    let (_, windows, texts) =
        models.look("gates", &["--window", "4", "--drawn", "3", "--order", "2"]);
    let first = list(&windows["tokens"]);
    let same = |place: usize| {
        let (a, b) = (gates(&tokens[place]), gates(&first[place]));
        a.iter().zip(&b).all(|(a, b)| near(*a, *b))
    };
    assert!((0..4).all(same) && !same(4));
    assert_eq!(windows["text"]["window"], 4);
    // Three tokens, eight rows, and the title, an axis and the five figures of the bar.
    assert_eq!(
        texts.iter().filter(|text| !text.is_empty()).count(),
        3 + 8 + 7,
        "{texts:?}"
    );
}

#[test]
fn gates_are_classed_by_what_was_trained_on() {
    let models = Models::new("engram_demo");
    let seen = models.path("seen.txt");
    for (trained_on, class) in [
        (PROMPT.to_owned(), "3-gram 1-9"),
        (PROMPT.repeat(12), "3-gram 10+"),
        ("xyz".to_owned(), "3-gram new"),
    ] {
        fs::write(&seen, trained_on).unwrap();
        let args = ["--trained-on", text(&seen), "--window", "8"];
        let (out, report, _) = models.look("gates", &args);
        let grouping = &report["groupings"][2];
        let classes = list(&grouping["classes"]);
        let names: Vec<&Value> = classes.iter().map(|class| &class["name"]).collect();
        assert_eq!(names, [class, "window start"]);
        let tokens = |class: &Value| class["tokens"].as_u64().unwrap();
        let extent = |name: &str| report["text"][name].as_u64().unwrap();
        // The second token of a window ends no 3-gram, the first is left out.
        assert_eq!(tokens(&classes[1]), extent("windows"));
        let all = extent("tokens") - extent("windows");
        assert_eq!(classes.iter().map(tokens).sum::<u64>(), all);
        assert!(out.contains(grouping["by"].as_str().unwrap()), "{out}");
    }
}

#[test]
fn the_lens_shows_the_same_model_twice_where_rows_are_shut_out() {
    let models = Models::new("engram_demo");
    let plain = models.without_engram();
    let (out, report, texts) = models.look("lens", &["--against", text(&plain)]);
    let runs = list(&report["runs"]);
    let names: Vec<&str> = runs
        .iter()
        .map(|run| run["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["with Engram", "gates shut", "plain"]);
    for run in runs {
        let depths = list(&run["depths"]);
        assert_eq!(depths.len(), 3 + 1);
        assert_eq!(depths[3]["divergence_bits"], 0.0);
        assert_eq!(depths[3]["agreement"], 1.0);
        assert!(
            depths[..3]
                .iter()
                .all(|depth| number(&depth["divergence_bits"]) > 0.01)
        );
    }
    assert_ne!(runs[0]["depths"], runs[1]["depths"]);
    assert_eq!(runs[1]["depths"], runs[2]["depths"]);
    assert!(
        out.contains("gates shut: bits away") && out.contains("100.0 %"),
        "{out}"
    );
    for label in ["layers computed", "gates shut", "plain", "3"] {
        assert!(
            texts.iter().any(|text| text == label),
            "{label} is not in {texts:?}"
        );
    }
}

#[test]
fn a_model_resembles_itself_and_what_it_shares() {
    let models = Models::new("engram_demo");
    let (_, itself, _) = models.look("similarity", &[]);
    let rows = list(&itself["similarity"]);
    assert_eq!(rows.len(), 4);
    for (i, row) in rows.iter().enumerate() {
        assert!(near(number(&row[i]), 1.0));
        for (j, value) in list(row).iter().enumerate() {
            assert!(near(number(value), number(&rows[j][i])));
            assert!((0.0..1.0 + 1e-5).contains(&number(value)));
        }
    }
    assert!(
        list(&itself["best"])
            .iter()
            .all(|best| best["layers"] != best["against"])
    );

    let plain = models.without_engram();
    let (out, report, texts) = models.look("similarity", &["--against", text(&plain)]);
    // Rows join after the first layer, which is at index 0.
    let best = list(&report["best"]);
    for (depth, best) in best.iter().enumerate().take(2) {
        assert_eq!(best["against"], depth);
        assert!(near(number(&best["similarity"]), 1.0));
    }
    assert!(number(&report["similarity"][2][2]) < 0.999);
    assert_eq!(report["features"], serde_json::json!([64, 64]));
    assert!(out.contains("likest of plain"), "{out}");
    assert!(
        texts.iter().any(|text| text == "layers of plain computed"),
        "{texts:?}"
    );
}

#[test]
fn codecs_change_the_loss_by_what_they_lose() {
    let models = Models::new("engram_v41");
    let codecs = [
        "--codec",
        "f32",
        "--codec",
        "q8_0",
        "--codec",
        "int4:group=16",
    ];
    let (out, report) = models.told("quantize", &codecs);
    let rows = list(&report["codecs"]);
    assert_eq!(rows.len(), 4);
    let of = |row: usize, name: &str| number(&rows[row][name]);
    // As it is, and in F32: nothing is lost.
    for row in 0..2 {
        assert_eq!((of(row, "relative_rmse"), of(row, "change")), (0.0, 0.0));
    }
    assert!(of(0, "loss") > 0.0);
    assert!(of(1, "row_bytes") > of(2, "row_bytes") && of(2, "row_bytes") > of(3, "row_bytes"));
    assert!(of(2, "relative_rmse") > 0.0 && of(3, "relative_rmse") > 5.0 * of(2, "relative_rmse"));
    assert!(of(3, "change") != 0.0 && near(of(3, "loss") - of(0, "loss"), of(3, "change")));
    assert!(out.contains("int4:group=16"), "{out}");
    // Without names, all that fit are measured, and the others are told.
    let (_, report) = models.told("quantize", &[]);
    let all = list(&report["codecs"]).len() + list(&report["left_out"]).len();
    assert_eq!(all, 1 + 18);
}

#[test]
fn classes_have_all_tokens_and_shut_gates_are_the_plain_model() {
    let models = Models::new("engram_demo");
    let (plain, seen) = (models.without_engram(), models.path("seen.txt"));
    fs::write(&seen, "The cat sat on the cat. ".repeat(12)).unwrap();
    let args = [
        "--against",
        text(&plain),
        "--trained-on",
        text(&seen),
        "--window",
        "16",
    ];
    let (out, report, texts) = models.look("classes", &args);
    let extent = |name: &str| report["text"][name].as_u64().unwrap();
    let scored = report["scored"].as_u64().unwrap();
    assert_eq!(scored, extent("tokens") - 1);
    let groupings = list(&report["groupings"]);
    assert_eq!(groupings.len(), 4);
    let all = &groupings[0]["classes"][0]["runs"];
    for grouping in groupings {
        let classes = list(&grouping["classes"]);
        let tokens = |class: &Value| class["tokens"].as_u64().unwrap();
        assert_eq!(
            classes.iter().map(tokens).sum::<u64>(),
            scored,
            "{grouping}"
        );
        for run in 0..3 {
            for figure in ["bits", "accuracy"] {
                let weighted = |class: &Value| {
                    tokens(class) as f64 * number(&class["runs"][run][figure]) / scored as f64
                };
                let mean: f64 = classes.iter().map(weighted).sum();
                assert!(near(mean, number(&all[run][figure])), "{grouping}");
            }
        }
        for class in classes {
            assert_eq!(class["runs"][1], class["runs"][2]);
            let [open, shut] = [0, 1].map(|run| number(&class["runs"][run]["bits"]));
            assert!(near(number(&class["saved"]["bits"]), shut - open));
            let run = &class["runs"][0];
            let perplexity = number(&run["perplexity"]);
            assert!((number(&run["bits"]).exp2() / perplexity - 1.0).abs() < 1e-9);
        }
    }
    assert_ne!(all[0], all[1]);
    let names = |grouping: &Value| -> Vec<String> {
        let classes = list(&grouping["classes"]).iter();
        classes
            .map(|class| class["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let kinds = names(&groupings[1]);
    for kind in ["rest of word", "number", "punctuation", "space"] {
        assert!(
            kinds.iter().any(|name| name == kind),
            "{kind} is not in {kinds:?}"
        );
    }
    let seen = names(&groupings[2]);
    assert_eq!(
        seen,
        ["3-gram new", "3-gram 1-9", "3-gram 10+", "window start"]
    );
    // The second and third token of a window have less than three before them.
    let starts = &groupings[2]["classes"][3]["tokens"];
    assert_eq!(starts, 2 * extent("windows"));
    assert!(out.contains("gates shut: bits"), "{out}");
    // Classes of few tokens are not drawn.
    let drawn = |label: &str| texts.iter().any(|text| text == label);
    assert!(
        drawn("all") && drawn("plain") && !drawn("number"),
        "{texts:?}"
    );
}

#[test]
fn what_cannot_be_looked_into_is_named() {
    let models = Models::new("engram_demo");
    let (model, pack) = (
        text(&models.model).to_owned(),
        text(&models.pack).to_owned(),
    );
    let with = |command: &'static str, args: &[&str], error: &str| {
        let all = [&[command, "--model", &model, "--pack", &pack], args].concat();
        fails(&all, error);
    };
    let (empty, short) = (models.path("empty"), models.path("short"));
    fs::write(&empty, "").unwrap();
    fs::write(&short, "a").unwrap();
    for command in ["gates", "lens", "similarity", "classes"] {
        with(command, &[], "--text");
        with(command, &["--text", "none"], "none");
        with(
            command,
            &["--text", text(&empty)],
            "has 0 tokens, expected 2 or more",
        );
        with(
            command,
            &["--text", text(&short)],
            "has 1 tokens, expected 2 or more",
        );
        with(
            command,
            &["--prompt", PROMPT, "--window", "1"],
            "--window is 1",
        );
    }
    with(
        "similarity",
        &["--prompt", "\u{7}\u{7}\u{7}\u{7}"],
        "depth 0 is the same at every position",
    );

    let lens =
        |args: &[&str], error: &str| with("lens", &[&["--prompt", PROMPT], args].concat(), error);
    let plain = models.without_engram();
    let plain = text(&plain);
    lens(&["--against-pack", &pack], "--against");
    lens(
        &["--against", &model],
        "name the pack of its rows by --against-pack",
    );
    lens(
        &["--against", plain, "--against-pack", &pack],
        "without n-gram fields",
    );
    let no_engram = [
        "lens", "--model", plain, "--pack", &pack, "--prompt", PROMPT,
    ];
    fails(&no_engram, "without n-gram fields");

    let other = models.copy("other", |_| ());
    let tokenizer = other.join("tokenizer.json");
    edit(&tokenizer, |json| {
        let vocabulary = json["model"]["vocab"].as_object_mut().unwrap();
        let (a, b) = (vocabulary["A"].clone(), vocabulary["B"].clone());
        vocabulary["A"] = b;
        vocabulary["B"] = a;
    });
    lens(&["--against", text(&other)], "the tokenizers differ: `");
    fs::copy(models.model.join("tokenizer.json"), &tokenizer).unwrap();
    edit(&tokenizer, |json| {
        json["model"]["merges"].as_array_mut().unwrap().clear();
    });
    lens(
        &["--against", text(&other)],
        "the tokenizers differ: token ",
    );
}
