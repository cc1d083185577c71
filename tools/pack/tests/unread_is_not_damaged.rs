//! A pack that cannot be read is not called damaged, and one that is elsewhere than it was is named.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
};

use common::{Folder, PROGRAM, fails, ok, run, run_after, text};
use serde_json::Value;

const NOBODY: u32 = 65_534;

/// Verifies `pack` as a user without rights.
fn verify_as_nobody(pack: &str) -> Option<(Option<i32>, Value)> {
    let mut command = Command::new(PROGRAM);
    command.args(["verify", pack, "--json"]).current_dir("/");
    let output = command.uid(NOBODY).gid(NOBODY).output();
    let Ok(output) =
        output.inspect_err(|error| println!("skipped: no run as another user: {error}"))
    else {
        return None;
    };
    let envelope = serde_json::from_slice(&output.stdout);
    let mut envelope: Value = envelope.unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    Some((output.status.code(), envelope["report"].take()))
}

#[test]
fn a_shard_without_rights_cannot_be_read() {
    let folder = Folder::new();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let checkpoint = folder.synth("longcat-flash-lite", "checkpoint");
    let pack = &folder.at("pack");
    ok(&["build", &checkpoint, "-o", pack]);
    let shards = ["order-2-head-0.shard", "order-2-head-1.shard"];
    let [locked, damaged] = shards.map(|shard| folder.join("pack/layer-00").join(shard));
    fs::set_permissions(&locked, Permissions::from_mode(0o0)).unwrap();
    let Some((code, report)) = verify_as_nobody(pack) else {
        return;
    };
    assert_eq!(code, Some(1), "{report}");
    assert_eq!(report["damage"].as_array().unwrap().len(), 0, "{report}");
    let [unread] = report["unread"].as_array().unwrap().as_slice() else {
        panic!("{report}");
    };
    assert_eq!(unread["file"], "layer-00/order-2-head-0.shard");
    let what = unread["what"].as_str().unwrap();
    assert!(what.contains("Permission denied"), "{what}");

    // Damage is what the exit code tells, whatever else could not be read.
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[5_000] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let (code, report) = verify_as_nobody(pack).unwrap();
    let found = |list: &str| report[list].as_array().unwrap().len();
    assert_eq!(
        (code, found("damage"), found("unread")),
        (Some(3), 1, 1),
        "{report}"
    );
}

#[test]
fn too_few_open_files_are_no_damage() {
    let folder = Folder::new();
    let checkpoint = folder.synth("deepseek-v4.1-flash", "checkpoint");
    let pack = &folder.at("pack");
    ok(&["attach", &checkpoint, "-o", pack]);
    let output = run_after("ulimit -n 4", &["verify", pack]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("0 places damaged, 1 not readable"), "{said}");
}

#[test]
fn a_missing_shard_is_damage() {
    let folder = Folder::new();
    let checkpoint = folder.synth("longcat-flash-lite", "checkpoint");
    let pack = &folder.at("pack");
    ok(&["build", &checkpoint, "-o", pack]);
    fs::remove_file(folder.join("pack/layer-00/order-2-head-0.shard")).unwrap();
    assert_eq!(run(&["verify", pack]).status.code(), Some(3));
}

#[test]
fn a_checkpoint_that_has_moved_can_be_named() {
    let folder = Folder::new();
    let checkpoint = &folder.synth("longcat-flash-lite", "checkpoint");
    let (pack, moved) = (&folder.at("pack"), &folder.at("moved"));
    ok(&["attach", checkpoint, "-o", pack]);
    let get = ["get", pack, "--layer", "0", "--row", "3"];
    let row = ok(&get);
    fs::rename(checkpoint, moved).unwrap();
    let refused = fails(&get);
    let expected = "if it has moved, name its folder by `--checkpoint`";
    assert!(
        refused.contains(expected) && refused.contains(checkpoint.as_str()),
        "{refused}"
    );
    let here = ["--checkpoint", moved];
    assert_eq!(ok(&[&get[..], &here].concat()), row);
    ok(&[&["verify", pack][..], &here].concat());

    // Damage is reported where it was read.
    for file in fs::read_dir(moved)
        .unwrap()
        .map(|file| file.unwrap().path())
    {
        let mut bytes = fs::read(&file).unwrap();
        if file.extension().is_some_and(|e| e == "safetensors") {
            let at = bytes.len() * 2 / 3;
            bytes[at..].iter_mut().for_each(|byte| *byte ^= 1);
            fs::write(&file, bytes).unwrap();
        }
    }
    let output = run(&[&["verify", pack][..], &here].concat());
    assert_eq!(output.status.code(), Some(3));
    let said = text(&output.stdout);
    assert!(said.contains(&format!("damaged: {moved}/model-")), "{said}");
    assert!(!said.contains(checkpoint.as_str()), "{said}");
}
