//! The commands that train, from text to tokens.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod command;

use std::{
    fs,
    path::{Path, PathBuf},
};

use command::{fails, succeeds, text};
use engram_checkpoint::Checkpoint;
use engram_pack::{BuildOptions, build};
use serde_json::Value;

/// A folder of documents that differ.
fn documents(folder: &Path) -> PathBuf {
    let documents = folder.join("text");
    fs::create_dir(&documents).unwrap();
    for index in 0..30 {
        let text = format!(
            "Document {index} tells that row {index} follows row {}.\n",
            index + 7
        );
        fs::write(documents.join(format!("{index}.txt")), text.repeat(40)).unwrap();
    }
    documents
}

#[test]
fn a_text_becomes_a_model_that_generates() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let documents = documents(folder.path());
    let (out, plot) = (at("out"), at("out.svg"));
    let args = [
        "train",
        "--text",
        text(&documents),
        "--output",
        text(&out),
        "--steps",
        "3",
        "--experts",
        "4",
        "--engram-rows",
        "3000",
        "--engram-layers",
        "0,2",
        "--json",
        "--plot",
        text(&plot),
    ];
    let (said, found) = succeeds(&args);
    assert!(
        said.contains("step 3 of 3") && said.contains("bits a byte"),
        "{said}"
    );
    assert_eq!(found["steps"].as_array().unwrap().len(), 3);
    assert!(found["held_out"]["bits_per_byte"].as_f64().unwrap() > 0.0);
    // Both parts of the text are there for those who measure, and together are all of it.
    let parts =
        ["training.txt", "held_out.txt"].map(|name| fs::read_to_string(out.join(name)).unwrap());
    assert!(parts.iter().all(|part| part.contains("tells that row")));
    assert_eq!(parts.concat().matches("tells that row").count(), 30 * 40);
    assert!(found["parameters"]["rows"].as_u64().unwrap() > 3000 * 8);
    assert!(fs::read_to_string(&plot).unwrap().contains("<svg"));

    fails(&args, "--resume");
    let resumed = [&args[..], &["--resume"]].concat();
    let (said, again) = succeeds(&resumed);
    assert!(said.contains("going on at step 3"));
    assert_eq!(again, found);
    let other = [&args[..6], &["4"], &args[7..], &["--resume"]].concat();
    fails(&other, "steps is 3 there, but 4 now");

    let (checkpoint, pack) = (out.join("checkpoint"), at("pack"));
    let opened = Checkpoint::open(&checkpoint, None).unwrap();
    build(&opened, &pack, &BuildOptions::default(), &|_| ()).unwrap();
    let (_, made) = succeeds(&[
        "generate",
        "--model",
        text(&checkpoint),
        "--pack",
        text(&pack),
        "--prompt",
        "Document",
        "--max-tokens",
        "5",
        "--json",
    ]);
    assert_eq!(made["prompts"][0]["tokens"].as_array().unwrap().len(), 5);
}

#[test]
fn no_text_and_no_preset_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let train = |more: &[&'static str], expected: &str| {
        fails(
            &[&["train", "--output", text(&out)], more].concat(),
            expected,
        );
    };
    train(
        &["--preset", "huge"],
        "possible values: study, tiny, small, base",
    );
    train(&["--text", "/none.txt"], "/none.txt");
    train(
        &["--no-engram", "--engram-rows", "5"],
        "cannot be used with",
    );
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fails(
        &["train", "--text", text(&empty), "--output", text(&out)],
        "the text has 0 bytes",
    );
}

#[test]
fn the_demo_compares_what_all_rows_give() {
    let (said, _) = succeeds(&["demo", "--steps", "2"]);
    for expected in [
        "bits a byte",
        "none damaged",
        "the pack, from the drive",
        "the checkpoint's own files",
        "all as the trainer's own",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn studies_keep_their_trainings() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let documents = documents(folder.path());
    let (out, plot, curves) = (at("out"), at("out.svg"), at("curves.svg"));
    let study = |command: &'static str, steps: &'static str| {
        vec![
            command,
            "--text",
            text(&documents),
            "--output",
            text(&out),
            "--steps",
            steps,
            "--seeds",
            "1",
            "--json",
            "--plot",
            text(&plot),
        ]
    };
    let with_curves = |steps| {
        let more = vec!["--shares", "100,60", "--curves", text(&curves)];
        [study("sweep", steps), more].concat()
    };
    let (_, first) = succeeds(&with_curves("2"));
    let shares = first["shares"].as_array().unwrap();
    assert_eq!(shares.len(), 2);
    let total = |share: &Value| share["total"].as_f64().unwrap();
    assert!(
        shares
            .iter()
            .all(|share| (total(share) / total(&shares[0]) - 1.0).abs() < 0.01)
    );
    assert_eq!(first["best"].as_array().unwrap().len(), 1);
    assert!(
        fs::read_to_string(&curves)
            .unwrap()
            .contains("experts alone")
    );
    let (said, again) = succeeds(&with_curves("2"));
    assert!(
        !said.contains("a loss of"),
        "trainings were made again: {said}"
    );
    assert_eq!(again, first);
    fails(&with_curves("3"), "other sizes");
    let shares = [&study("sweep", "2")[..], &["--shares", "80,100"]].concat();
    fails(&shares, "expected 100 and then others");

    let (_, positions) = succeeds(&study("position", "2"));
    assert_eq!(positions.as_array().unwrap().len(), 4);
    assert!(
        fs::read_to_string(&plot)
            .unwrap()
            .contains("the layer it is ahead of")
    );
}
