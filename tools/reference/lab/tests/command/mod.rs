//! Runs the command.

use std::{
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
    let out = run(args);
    let errors = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success(), "{args:?}: {errors}");
    if args.contains(&"--json") {
        return (errors, serde_json::from_slice(&out.stdout).unwrap());
    }
    (String::from_utf8(out.stdout).unwrap(), Value::Null)
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
