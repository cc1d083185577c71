//! The drive's limit, as fio finds it, where it is installed.

use std::{path::Path, process::Command};

use serde_json::Value;

/// Reads a second of `bytes` bytes at random places of the file at `path` with `depth` in flight, in
/// some seconds; none without fio.
pub(crate) fn random_reads(path: &Path, bytes: u32, depth: u16) -> Option<f64> {
    let output = Command::new("fio")
        .args([
            "--name=engram",
            "--ioengine=io_uring",
            "--rw=randread",
            "--direct=1",
            "--fixedbufs=1",
            "--registerfiles=1",
            "--time_based",
            "--runtime=4",
            "--norandommap",
            "--readonly",
            "--output-format=json",
        ])
        .arg(format!("--filename={}", path.display()))
        .args([format!("--bs={bytes}"), format!("--iodepth={depth}")])
        .output()
        .ok()?;
    let report: Value = serde_json::from_slice(&output.stdout).ok()?;
    report["jobs"][0]["read"]["iops"]
        .as_f64()
        .filter(|&iops| iops > 0.0)
}
