//! Runs of the command.

#![allow(dead_code, reason = "each test uses its part")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use engram_checkpoint::Checkpoint;
use engram_pack::{BuildOptions, build};
use tempfile::TempDir;

pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../engine/model/tests/golden")
        .join(name)
}

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

pub(crate) fn fails(args: &[&str], text: &str) {
    let out = run(args);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success(), "{args:?}");
    assert!(errors.contains(text), "{errors}");
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn pack(checkpoint: &Path, folder: &TempDir) -> PathBuf {
    let pack = folder.path().join("pack");
    let checkpoint = Checkpoint::open(checkpoint, None).unwrap();
    build(&checkpoint, &pack, &BuildOptions::default(), &|_| ()).unwrap();
    pack
}
