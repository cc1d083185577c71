//! `convert`, by the command.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::{fs, process::Command};

use common::{Folder, PROGRAM, fails, ok, run, text};
use serde_json::Value;

/// A pack in a folder.
fn pack(folder: &Folder) -> String {
    let checkpoint = folder.synth("deepseek-v4.1-flash", "checkpoint");
    let pack = folder.at("pack");
    ok(&["build", &checkpoint, "-o", &pack]);
    pack
}

#[test]
fn columns_and_tables_are_told() {
    let folder = Folder::new();
    let (pack, small) = (pack(&folder), folder.at("small"));
    let convert = [
        "convert",
        &pack,
        "-o",
        &small,
        "--codec",
        "int4:group=32",
        "--keep",
        "layer=1",
    ];
    let plan: Value =
        serde_json::from_str(&ok(&[&convert[..], &["--dry-run", "--json"]].concat())).unwrap();
    assert!(!folder.join("small").exists());
    let report: Value = serde_json::from_str(&ok(&[&convert[..], &["--json"]].concat())).unwrap();
    let report = &report["report"];
    let bytes = |tables: &Value| -> u64 {
        let tables = tables.as_array().unwrap().iter();
        tables.map(|table| table["bytes"].as_u64().unwrap()).sum()
    };
    assert_eq!(report["bytes_written"], bytes(&plan["report"]["tables"]));
    let columns = report["columns"].as_array().unwrap();
    assert_eq!(columns.len(), 48);
    for column in columns {
        let of = |name: &str| column[name].as_f64().unwrap();
        let kept = column["layer"] == 1;
        assert_eq!(of("relative_rmse") == 0.0, kept, "{column}");
        assert!(
            of("cosine_worst") <= of("cosine_p1") && of("cosine_p1") <= of("cosine_mean"),
            "{column}"
        );
        assert_eq!(of("cosine_worst") == 1.0, kept, "{column}");
    }
    assert_eq!(report["tables"][1]["to"]["name"], "int4");
    let said = ok(&["inspect", &small]);
    assert!(said.contains("converted from 256 values in FP8"), "{said}");

    let other = folder.at("other");
    let said = ok(&["convert", &pack, "-o", &other, "--codec", "q8_0"]);
    for part in [
        "rel. RMSE",
        "1st percentile",
        "264 to 272 bytes a row",
        "rows in 48 shards",
    ] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
}

#[test]
fn what_is_asked_wrongly_is_named() {
    let folder = Folder::new();
    let pack = pack(&folder);
    let other = folder.at("other");
    let usage = |args: &[&str]| {
        let output = run(&[&["convert", &pack, "-o", &other][..], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        text(&output.stderr)
    };
    let said = usage(&["--codec", "q6_k"]);
    assert!(
        said.contains("unknown codec `q6_k`; known are f32, f16"),
        "{said}"
    );
    for keep in ["--keep", "--keep-f"] {
        let said = usage(&["--codec", "q8_0", keep, "order=2"]);
        assert!(
            said.contains("`order` cannot be kept") && said.contains("layer=1"),
            "{said}"
        );
    }
    let onto_itself = ["convert", &pack, "-o", &pack, "--codec", "q8_0"];
    for args in [
        &onto_itself[..],
        &[&onto_itself[..], &["--resume"]].concat(),
        &[&onto_itself[..], &["--dry-run"]].concat(),
    ] {
        let said = fails(args);
        assert!(
            said.contains("is the pack that is to be converted"),
            "{said}"
        );
    }
    let said = fails(&[
        "convert", &pack, "-o", &other, "--codec", "q8_0", "--keep", "layer=7",
    ]);
    assert!(said.contains("layer 7 is to be kept"), "{said}");
    // Its rows are not the checkpoint's any more, so it cannot take their place.
    ok(&["convert", &pack, "-o", &other, "--codec", "bf16"]);
    let said = fails(&[
        "lean",
        &folder.at("checkpoint"),
        &other,
        "-o",
        &folder.at("lean"),
    ]);
    assert!(said.contains("other"), "{said}");
    assert!(!folder.join("lean").exists());
}

/// In a file system of 300 KiB, for whoever may mount one.
#[test]
fn a_drive_without_room_is_refused_before_anything_is_written() {
    let folder = Folder::new();
    let pack = pack(&folder);
    let drive = folder.at("drive");
    fs::create_dir(&drive).unwrap();
    let script = r#"
        mount -t tmpfs -o size=300k tmpfs "$DRIVE" || exit 77
        "$PROGRAM" convert "$PACK" --codec f32 -o "$DRIVE/out" 2>"$SAID"
        code=$?
        find "$DRIVE/out" -name '*.shard*' >>"$SAID"
        exit $code
    "#;
    let said = folder.at("said");
    let mut unshare = Command::new("unshare");
    unshare.args(["--map-root-user", "--mount", "sh", "-c", script]);
    for (name, value) in [
        ("PROGRAM", PROGRAM),
        ("PACK", &pack),
        ("DRIVE", &drive),
        ("SAID", &said),
    ] {
        unshare.env(name, value);
    }
    let Ok(output) = unshare.output() else {
        println!("SKIPPED: there is no unshare");
        return;
    };
    let refused = text(&output.stderr);
    if output.status.code() == Some(77) || refused.contains("unshare:") {
        println!("SKIPPED: no mount namespace can be had here: {refused}");
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{refused}");
    let said = fs::read_to_string(&said).unwrap();
    assert!(
        said.contains("bytes for shards that are missing on its drive"),
        "{said}"
    );
    assert!(!said.contains(".shard"), "{said}");
}
