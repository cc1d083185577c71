//! A model of the hub is found where the hub's own tools have put it.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

use common::{Folder, PROGRAM, ok, text};

const COMMIT: &str = "0123abcd";

/// Puts the checkpoint in `folder` into a hub's cache: links in a snapshot to files among blobs.
fn store(folder: &Folder, checkpoint: &str) {
    let model = folder.join("home/hub/models--org--model");
    let [blobs, snapshot, refs] = [
        model.join("blobs"),
        model.join("snapshots").join(COMMIT),
        model.join("refs"),
    ];
    for folder in [&blobs, &snapshot, &refs] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(refs.join("main"), COMMIT).unwrap();
    for entry in fs::read_dir(checkpoint).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        let blob = blobs.join(format!("blob-of-{}", name.display()));
        fs::rename(&path, &blob).unwrap();
        let link = Path::new("../../blobs").join(blob.file_name().unwrap());
        symlink(link, snapshot.join(name)).unwrap();
    }
}

fn run(folder: &Folder, args: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    for variable in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"] {
        command.env_remove(variable);
    }
    command.env("HF_HOME", folder.join("home"));
    command
        .current_dir(folder.path())
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn by_its_name() {
    let folder = Folder::new();
    let checkpoint = folder.synth("deepseek-v4.1-flash", "checkpoint");
    store(&folder, &checkpoint);
    for (model, pack) in [
        ("org/model", "packed"),
        ("org/model@main", "again"),
        (&format!("org/model@{COMMIT}"), "third"),
    ] {
        let built = run(&folder, &["build", model, "-o", pack]);
        assert!(built.status.success(), "{}", text(&built.stderr));
        ok(&["verify", &folder.at(pack)]);
    }
    let attached = run(&folder, &["attach", "org/model", "-o", "attached"]);
    assert!(attached.status.success(), "{}", text(&attached.stderr));
    // Not the branch, which may name another commit tomorrow.
    let shown = ok(&["inspect", &folder.at("attached")]);
    assert!(
        shown.contains(&format!("models--org--model/snapshots/{COMMIT}")),
        "{shown}"
    );
    ok(&["verify", &folder.at("attached")]);
}

#[test]
fn or_it_is_said_how_to_download_it() {
    let folder = Folder::new();
    let refused = |args: &[&str]| {
        let output = run(&folder, args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        text(&output.stderr)
    };
    let missing = refused(&["build", "org/model@v2", "-o", "pack"]);
    assert!(missing.contains("org/model@v2 is no folder"), "{missing}");
    assert!(
        missing.contains("`hf download org/model config.json"),
        "{missing}"
    );
    assert!(missing.contains("--revision v2`"), "{missing}");

    // With the small files, those of the tables can be named.
    let checkpoint = folder.synth("deepseek-v4.1-flash", "checkpoint");
    store(&folder, &checkpoint);
    let snapshot = folder
        .join("home/hub/models--org--model/snapshots")
        .join(COMMIT);
    let gone = "model-00002-of-00002.safetensors";
    fs::remove_file(snapshot.join(gone)).unwrap();
    let incomplete = refused(&["build", "org/model", "-o", "pack"]);
    let advice = format!(
        "not all of org/model is here; download the rest by `hf download org/model {gone}`"
    );
    assert!(incomplete.contains(&advice), "{incomplete}");
    fs::remove_file(snapshot.join("config.json")).unwrap();
    let bare = refused(&["build", "org/model", "-o", "pack"]);
    assert!(
        bare.contains("`hf download org/model config.json`"),
        "{bare}"
    );
    // What is a path stays one.
    let path = refused(&["build", "./org/model", "-o", "pack"]);
    assert!(!path.contains("hf download"), "{path}");
}
