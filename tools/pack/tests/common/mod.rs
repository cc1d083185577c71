//! Runs of the command, for its tests.

#![allow(dead_code, reason = "each test uses some of it")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_engram-pack");

pub(crate) fn run(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().unwrap()
}

/// Standard output of a run that must succeed.
pub(crate) fn ok(args: &[&str]) -> String {
    let output = run(args);
    assert!(
        output.status.success(),
        "{args:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Standard error of a run that must fail with exit code 1.
pub(crate) fn fails(args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    text(&output.stderr)
}

/// A run after `limits`, commands of a shell such as `ulimit -n 64`.
pub(crate) fn run_after(limits: &str, args: &[&str]) -> Output {
    let script = format!("{limits}; exec \"$@\"");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &script, "sh", PROGRAM])
        .args(args)
        .output()
        .unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A folder that goes with this value.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn at(&self, name: &str) -> String {
        self.join(name).to_str().unwrap().to_owned()
    }

    /// Makes a small checkpoint there.
    pub(crate) fn synth(&self, scheme: &str, name: &str) -> String {
        let path = self.at(name);
        ok(&[
            "synth", "--scheme", scheme, "--scale", "1000000", "-o", &path,
        ]);
        path
    }
}
