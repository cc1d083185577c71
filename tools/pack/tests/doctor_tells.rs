//! `doctor` tells what the machine allows, and changes nothing.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::fs;

use common::{Folder, fails, ok, run_after, text};
use engram::{Config, Store};
use serde_json::Value;

/// What was found, by its name.
fn finding(report: &str, name: &str) -> Value {
    let report: Value = serde_json::from_str(report).unwrap();
    let findings = report["report"]["findings"].as_array().unwrap().clone();
    let found = findings.iter().find(|finding| finding["name"] == name);
    found
        .unwrap_or_else(|| panic!("no {name}: {findings:?}"))
        .clone()
}

#[test]
fn of_a_pack() {
    let folder = Folder::new();
    let checkpoint = folder.synth("deepseek-v4.1-flash", "checkpoint");
    for (make, pack) in [
        ("build", folder.at("packed")),
        ("attach", folder.at("attached")),
    ] {
        ok(&[make, &checkpoint, "-o", &pack]);
        let report = ok(&["doctor", &pack, "--json"]);
        let store = Store::open(&pack, Config::new()).unwrap();
        let chosen = finding(&report, "store")["values"].clone();
        assert_eq!(chosen["backend"], store.backend().to_string());
        assert_eq!(
            finding(&report, "io_uring")["values"]["allowed"],
            store.backend().to_string().contains("io_uring")
        );
        let files = if make == "build" { 48 } else { 2 };
        assert!(finding(&report, "open files")["values"]["needed"].as_u64() >= Some(files));
        for name in [
            "kernel",
            "processor",
            "file system",
            "direct reads",
            "memory",
            "huge pages",
            "locked memory",
            "CUDA",
        ] {
            let found = finding(&report, name);
            assert!(!found["said"].as_str().unwrap().is_empty(), "{found}");
        }
        let said = ok(&["doctor", &pack]);
        assert!(
            said.contains("store ") && said.contains("reads by "),
            "{said}"
        );
    }
}

#[test]
fn of_a_folder_that_it_leaves_as_it_was() {
    let folder = Folder::new();
    let report = ok(&["doctor", folder.path().to_str().unwrap(), "--json"]);
    assert!(finding(&report, "store")["values"]["cache_bytes"].as_u64() > Some(0));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(fails(&["doctor", &folder.at("missing")]).contains("missing"));
}

#[test]
fn of_too_few_open_files() {
    let folder = Folder::new();
    let checkpoint = folder.synth("longcat-flash-lite", "checkpoint");
    let pack = folder.at("pack");
    ok(&["build", &checkpoint, "-o", &pack]);
    // The command raises the soft limit, which programs that link the library may not do.
    let output = run_after("ulimit -S -n 40", &["doctor", &pack, "--json"]);
    let found = finding(&text(&output.stdout), "open files");
    assert_eq!(found["state"], "limited", "{found}");
    assert_eq!(found["values"]["soft"], 40);
    let enough = run_after("ulimit -S -n 100", &["doctor", &pack, "--json"]);
    assert_eq!(
        finding(&text(&enough.stdout), "open files")["state"],
        "good"
    );
}
