//! `build --dry-run` says what a build would write.

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
            said.contains("table   layer") && said.contains("drive   "),
            "{said}"
        );
        let report: Value = serde_json::from_str(&ok(&[&plan[..], &["--json"]].concat())).unwrap();
        assert!(!folder.join("deep").exists());
        ok(&["build", &checkpoint, "-o", pack]);
        assert_eq!(
            report["report"]["bytes"],
            bytes(Path::new(pack)),
            "{scheme}"
        );
        assert!(fails(&plan).contains("is a finished pack already"));
    }
}
