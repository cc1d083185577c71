//! Packs whose shards lie in several folders, by the command.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::{fs, os::unix::fs::FileExt, path::Path, process::Command};

use common::{Folder, PROGRAM, fails, ok, run, text};

/// A striped pack in a folder: its path, and those of its stripes.
fn striped(folder: &Folder) -> [String; 3] {
    let checkpoint = folder.synth("deepseek-v4.1-flash", "checkpoint");
    let [pack, first, second] = ["pack", "first", "second"].map(|name| folder.at(name));
    let said = ok(&[
        "build",
        &checkpoint,
        "-o",
        &pack,
        "--stripe",
        &first,
        "--stripe",
        &second,
    ]);
    assert!(said.contains("rows in 48 shards"), "{said}");
    [pack, first, second]
}

#[test]
fn inspect_says_where_the_shards_are() {
    let folder = Folder::new();
    let [pack, first, second] = striped(&folder);
    let said = ok(&["inspect", &pack]);
    for (stripe, at) in [&first, &second].into_iter().enumerate() {
        let expected = format!("stripe {stripe}    24 columns in {at}\n");
        assert!(said.contains(&expected), "{said}");
    }
    let json: serde_json::Value = serde_json::from_str(&ok(&["inspect", &pack, "--json"])).unwrap();
    assert_eq!(
        json["report"]["manifest"]["stripes"]["folders"][1],
        second.as_str()
    );
}

#[test]
fn a_moved_stripe_is_an_option() {
    let folder = Folder::new();
    let [pack, _, second] = striped(&folder);
    let get = ["get", &pack, "--layer", "1", "--row", "1"];
    // Column 0, which stays; and the last row of the layer, which moves.
    let rows = fs::read(folder.join("pack/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&rows).unwrap();
    let buckets = manifest["scheme"]["layers"][0]["buckets"]
        .as_array()
        .unwrap();
    let last: u64 = buckets
        .iter()
        .map(|buckets| buckets.as_u64().unwrap())
        .sum();
    let last = (last - 1).to_string();
    let get_last = ["get", &pack, "--layer", "1", "--row", &last];
    let expected = [ok(&get), ok(&get_last)];
    let now = folder.at("now");
    fs::rename(&second, &now).unwrap();
    let moved = format!("1={now}");
    for get in [&get, &get_last] {
        let said = fails(get);
        assert!(
            said.contains(&format!("cannot open {second}/layer-01/")),
            "{said}"
        );
        assert!(
            said.contains("name its folder by `--stripe 1=DIR`"),
            "{said}"
        );
    }
    let found = [&get, &get_last].map(|get| ok(&[&get[..], &["--stripe", &moved]].concat()));
    assert_eq!(found, expected);

    let missing = run(&["verify", &pack]);
    assert_eq!(missing.status.code(), Some(3));
    assert!(
        text(&missing.stdout).contains("24 places damaged"),
        "{missing:?}"
    );
    ok(&["verify", &pack, "--stripe", &moved]);
    let no_such = fails(&["verify", &pack, "--stripe", &format!("2={now}")]);
    assert!(no_such.contains("has no stripe 2"), "{no_such}");
    for wrong in ["1", "one=/folder", "1="] {
        let refused = run(&["verify", &pack, "--stripe", wrong]);
        assert_eq!(refused.status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn every_command_that_reads_rows_takes_moved_stripes() {
    let folder = Folder::new();
    let [pack, _, second] = striped(&folder);
    let [checkpoint, lean, restored, now] =
        ["checkpoint", "lean", "restored", "now"].map(|name| folder.at(name));
    fs::rename(&second, &now).unwrap();
    let moved = format!("1={now}");
    let made_lean = ["lean", &checkpoint, &pack, "-o", &lean];
    let said = fails(&made_lean);
    assert!(said.contains(&second), "{said}");
    ok(&[&made_lean[..], &["--stripe", &moved]].concat());

    let restore = ["restore", &lean, "-o", &restored];
    let said = fails(&restore);
    assert!(said.contains(&second), "{said}");
    let no_such = fails(&[&restore[..], &["--stripe", "2=folder"]].concat());
    assert!(no_such.contains("has no stripe 2"), "{no_such}");
    ok(&[&restore[..], &["--stripe", &moved]].concat());
    let files = fs::read_dir(&checkpoint).unwrap();
    for name in files.map(|file| file.unwrap().file_name()) {
        let [was, is] =
            [&checkpoint, &restored].map(|folder| fs::read(Path::new(folder).join(&name)).unwrap());
        assert!(was == is, "{name:?}");
    }

    let said = fails(&["stats", &pack]);
    assert!(said.contains("`--stripe 1=DIR`"), "{said}");
    ok(&["stats", &pack, "--stripe", &moved]);
}

#[test]
fn damage_in_a_stripe_is_named_by_its_path() {
    let folder = Folder::new();
    let [pack, _, second] = striped(&folder);
    let shard = format!("{second}/layer-01/order-2-head-1.shard");
    let file = fs::OpenOptions::new().write(true).open(&shard).unwrap();
    file.write_all_at(&[0xFF; 8], 4_096 + 10).unwrap();
    let found = run(&["verify", &pack]);
    assert_eq!(found.status.code(), Some(3));
    let said = text(&found.stdout);
    assert!(said.contains(&format!("damaged: {shard}, row ")), "{said}");
}

#[test]
fn an_attached_pack_has_no_stripes() {
    let folder = Folder::new();
    let checkpoint = folder.synth("longcat-flash-lite", "checkpoint");
    let [pack, stripe] = ["pack", "stripe"].map(|name| folder.at(name));
    let refused = run(&["attach", &checkpoint, "-o", &pack, "--stripe", &stripe]);
    assert_eq!(refused.status.code(), Some(2));
    ok(&["attach", &checkpoint, "-o", &pack]);
    let refused = fails(&[
        "get",
        &pack,
        "--layer",
        "0",
        "--row",
        "1",
        "--stripe",
        &format!("0={stripe}"),
    ]);
    assert!(refused.contains("has no stripe 0"), "{refused}");
}

/// Runs in a mount namespace of its own, where a drive of any size can be had.
#[test]
fn a_drive_without_room_is_named() {
    const SCRIPT: &str = r#"
        mount -t tmpfs -o size=300k tmpfs "$DRIVE" || exit 77
        "$PROGRAM" build "$CHECKPOINT" -o "$PACK" --stripe "$OTHER" --stripe "$DRIVE/stripe" && exit 1
        mount -o remount,size=64m "$DRIVE" || exit 77
        "$PROGRAM" build "$CHECKPOINT" -o "$PACK" --stripe "$OTHER" --stripe "$DRIVE/stripe" || exit 2
        "$PROGRAM" verify "$PACK" || exit 3
    "#;
    let folder = Folder::new();
    let checkpoint = folder.synth("deepseek-v4.1-flash", "checkpoint");
    let drive = folder.at("drive");
    fs::create_dir(&drive).unwrap();
    let run = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", SCRIPT])
        .envs([
            ("PROGRAM", PROGRAM),
            ("CHECKPOINT", &checkpoint),
            ("DRIVE", &drive),
        ])
        .envs([("PACK", folder.at("pack")), ("OTHER", folder.at("other"))])
        .output();
    let Ok(run) = run else {
        println!("skipped: there is no `unshare` here");
        return;
    };
    let said = text(&run.stderr);
    if run.status.code() == Some(77) || said.contains("unshare:") {
        println!("skipped: no mount namespace can be had here: {said}");
        return;
    }
    assert!(run.status.success(), "{run:?}");
    let expected = format!("{drive}/stripe needs ");
    assert!(said.contains(&expected), "{said}");
}
