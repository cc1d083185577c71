//! `stats` counts what there is in each column.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use common::{Folder, fails, ok};
use engram::read_manifest;
use engram_kit::pack_facts::row_bytes;
use engram_pack::StatsOptions;
use serde_json::Value;

fn stats(pack: &str, more: &[&str]) -> Value {
    let args = [&["stats", pack, "--json"][..], more].concat();
    let mut report: Value = serde_json::from_str(&ok(&args)).unwrap();
    report["report"].take()
}

/// Counts with room for no more than 64 rows at a time, which takes dozens of passes.
fn in_passes(pack: &str, expected: &Value) {
    let options = StatsOptions {
        jobs: 2,
        memory: 2 * 64 * 8,
        checkpoint: None,
        stripes: [].into(),
    };
    let done = AtomicU64::new(0);
    let count = |bytes| {
        done.fetch_add(bytes, Ordering::Relaxed);
    };
    let found = engram_pack::stats(Path::new(pack), &options, &count).unwrap();
    assert_eq!(serde_json::to_value(&found.columns).unwrap(), *expected);
    let bytes = row_bytes(&read_manifest(pack).unwrap());
    assert_eq!(done.into_inner(), bytes, "progress ends with all bytes");
}

/// Overwrites rows of the first tensor in the checkpoint, which has rows of BF16.
fn change(folder: &Folder, row_bytes: usize, rows: &[(usize, u8)]) {
    let mut files: Vec<_> = fs::read_dir(folder.join("checkpoint"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "safetensors")
    });
    files.sort();
    let file = &files[0];
    let mut bytes = fs::read(file).unwrap();
    let data = 8 + usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    for &(row, byte) in rows {
        let start = data + row * row_bytes;
        bytes[start..start + row_bytes].fill(byte);
    }
    fs::write(file, bytes).unwrap();
}

#[test]
fn of_what_was_put_there() {
    let folder = Folder::new();
    let checkpoint = folder.synth("longcat-flash-lite", "checkpoint");
    let plain = &folder.at("plain");
    ok(&["build", &checkpoint, "-o", plain]);
    let before = stats(plain, &[]);
    for count in ["nan_rows", "zero_rows", "repeated_rows"] {
        assert_eq!(before[count], 0, "{count}");
    }
    let row_bytes = 2 * serde_json::from_str::<Value>(&ok(&["inspect", plain, "--json"])).unwrap()
        ["report"]["manifest"]["tables"][0]["codec"]["width"]
        .as_u64()
        .unwrap();
    // Two zero rows, three equal ones, two of them that are not numbers.
    change(
        &folder,
        usize::try_from(row_bytes).unwrap(),
        &[
            (3, 0),
            (9, 0),
            (4, 0x11),
            (5, 0x11),
            (7, 0x11),
            (1, 0xff),
            (2, 0xff),
        ],
    );
    let [packed, attached] = &["packed", "attached"].map(|name| folder.at(name));
    ok(&["build", &checkpoint, "-o", packed, "--allow-nan"]);
    ok(&["attach", &checkpoint, "-o", attached]);
    let whole = stats(packed, &["--jobs", "2"]);
    let first = &whole["columns"][0];
    assert_eq!(first["zero_rows"], 2, "{first}");
    assert_eq!(first["nan_rows"], 2, "{first}");
    // One zero row, two of the equal ones, one of those that are not numbers.
    assert_eq!(first["repeated_rows"], 4, "{first}");
    assert_eq!(whole["repeated_rows"], 4);
    let rows: u64 = (whole["columns"].as_array().unwrap().iter())
        .map(|column| column["rows"].as_u64().unwrap())
        .sum();
    assert_eq!(whole["rows"], rows);

    assert_eq!(stats(attached, &[])["columns"], whole["columns"]);
    in_passes(packed, &whole["columns"]);
    let table = ok(&["stats", packed]);
    assert!(
        table.contains("2 not numbers, 2 zero, 4 repeated"),
        "{table}"
    );
    assert!(fails(&["stats", packed, "--memory", "0"]).contains("is 0"));
}
