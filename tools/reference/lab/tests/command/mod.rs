//! Runs the command.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_engram-model"))
        .args(args)
        .output()
        .unwrap()
}

/// The text of a run that must succeed, and its report if `args` ask for JSON.
pub(crate) fn succeeds(args: &[&str]) -> (String, Value) {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    // Beside the text, which `--json` alone would take the place of.
    let to_file = format!("--json={}", report.display());
    let asked = |arg: &&str| {
        if *arg == "--json" {
            to_file.clone()
        } else {
            (*arg).to_owned()
        }
    };
    let asked: Vec<String> = args.iter().map(asked).collect();
    let out = run(&asked.iter().map(String::as_str).collect::<Vec<_>>());
    let errors = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success(), "{args:?}: {errors}");
    let text = String::from_utf8(out.stdout).unwrap();
    if !args.contains(&"--json") {
        return (text, Value::Null);
    }
    let mut report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    (text, report["report"].take())
}

/// A run that must fail, and say `text`.
pub(crate) fn fails(args: &[&str], text: &str) {
    let out = run(args);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success(), "{args:?}");
    assert!(errors.contains(text), "{errors}");
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
