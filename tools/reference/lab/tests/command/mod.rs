//! Runs the command.

use std::{
    path::Path,
    process::{Command, Output},
};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_engram-model"))
        .args(args)
        .output()
        .unwrap()
}

/// Standard output of a run that must succeed.
pub(crate) fn succeeds(args: &[&str]) -> String {
    let out = run(args);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{args:?}: {errors}");
    String::from_utf8(out.stdout).unwrap()
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
