//! `build --dry-run` and `attach --dry-run` say what these would write.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::{fs, path::Path};

use common::{Folder, fails, ok};
use serde_json::Value;

fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            if path.is_dir() {
                bytes(&path)
            } else {
                path.metadata().unwrap().len()
            }
        })
        .sum()
}

#[test]
fn to_the_byte() {
    for scheme in ["deepseek-v4.1-flash", "longcat-flash-lite"] {
        let folder = Folder::new();
        let checkpoint = folder.synth(scheme, "checkpoint");
        let pack = &folder.at("deep/pack");
        let plan = ["build", &checkpoint, "-o", pack, "--dry-run"];
        let said = ok(&plan);
        assert!(
            ["table   layer", "drive   ", "time    "]
                .iter()
                .all(|line| said.contains(line)),
            "{said}"
        );
        let report: Value = serde_json::from_str(&ok(&[&plan[..], &["--json"]].concat())).unwrap();
        assert!(!folder.join("deep").exists());
        assert!(report["report"]["seconds"].as_f64().unwrap() > 0.0);
        ok(&["build", &checkpoint, "-o", pack]);
        assert_eq!(
            report["report"]["bytes"],
            bytes(Path::new(pack)),
            "{scheme}"
        );
        assert!(fails(&plan).contains("is a finished pack already"));
    }
}

#[test]
fn nor_does_the_plan_of_an_attached_pack() {
    let folder = Folder::new();
    let checkpoint = folder.synth("deepseek-v4.1-flash", "checkpoint");
    let pack = &folder.at("pack");
    let attach = ["attach", &checkpoint, "-o", pack];
    let report = |more: &[&str]| -> Value {
        serde_json::from_str(&ok(&[&attach[..], more].concat())).unwrap()
    };
    let planned = report(&["--dry-run", "--json"]);
    assert!(!folder.join("pack").exists());
    assert_eq!(planned["report"], report(&["--json"])["report"]);
    assert!(fails(&[&attach[..], &["--dry-run"]].concat()).contains("is a finished pack already"));
    // What could not be attached cannot be planned either.
    fs::remove_file(folder.join("checkpoint/config.json")).unwrap();
    assert!(fails(&[&attach[..], &["--dry-run"]].concat()).contains("config.json"));
}
