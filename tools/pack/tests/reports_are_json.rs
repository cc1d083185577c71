//! What every command reports on `--json`, and with which exit code.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::fs;

use common::{Folder, ok, run, text};
use engram_kit::envelope::Envelope;

/// The exit code and the report of a run; fields that the form does not have are refused.
fn report(args: &[&str]) -> (Option<i32>, Envelope) {
    let output = run(args);
    let report = serde_json::from_slice(&output.stdout);
    let report =
        report.unwrap_or_else(|error| panic!("{args:?}: {error}: {}", text(&output.stderr)));
    (output.status.code(), report)
}

#[test]
fn a_report_says_what_ran_where_on_which_pack() {
    let folder = Folder::new();
    let checkpoint = folder.synth("qwen3.8-flash-next", "checkpoint");
    let pack = &folder.at("pack");
    let (code, built) = report(&["build", &checkpoint, "-o", pack, "--json"]);
    assert_eq!((code, built.exit_code, built.schema), (Some(0), 0, 1));
    assert_eq!(built.tool, "engram-pack");
    assert_eq!(built.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(
        built.command[1..],
        ["build", &checkpoint, "-o", pack, "--json"]
    );
    assert!(
        built.date.len() == 20 && built.date.ends_with('Z'),
        "{}",
        built.date
    );
    assert!(built.machine.cores > 0 && !built.machine.kernel.is_empty());
    let of_built = built.pack.unwrap();
    assert_eq!(of_built.path, *pack);
    assert!(of_built.drive.file_system.is_some());

    // The same rows have the same digest, wherever they lie.
    let copy = &folder.at("copy");
    ok(&["build", &checkpoint, "-o", copy]);
    let (_, verified) = report(&["verify", copy, "--json"]);
    let of_copy = verified.pack.unwrap();
    assert_eq!(of_copy.digest, of_built.digest);
    let attached = &folder.at("attached");
    let (_, attached) = report(&["attach", &checkpoint, "-o", attached, "--json=-"]);
    let of_attached = attached.pack.unwrap();
    assert!(of_attached.attached && of_attached.digest != of_built.digest);
    assert_eq!(of_attached.row_bytes, of_built.row_bytes);
}

#[test]
fn an_error_is_reported_too() {
    let (code, failed) = report(&["verify", "no/such/pack", "--json"]);
    assert_eq!((code, failed.exit_code), (Some(1), 1));
    let error = failed.error.unwrap();
    assert!(
        error
            .message
            .contains("no/such/pack holds no manifest.json")
    );
    assert!(!error.causes.is_empty() && failed.report.is_null());

    for args in [
        &["--json", "verify"][..],
        &["verify", "--nonsense", "--json"],
    ] {
        let (code, wrong) = report(args);
        assert_eq!((code, wrong.exit_code), (Some(2), 2), "{args:?}");
        assert!(wrong.error.unwrap().message.contains("Usage"), "{args:?}");
    }
}

#[test]
fn a_damaged_row_has_the_exit_code_of_damage() {
    let folder = Folder::new();
    let checkpoint = folder.synth("longcat-flash-lite", "checkpoint");
    let pack = &folder.at("pack");
    ok(&["build", &checkpoint, "-o", pack]);
    let shard = folder.join("pack/layer-00/order-2-head-0.shard");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[4_100] ^= 1;
    fs::write(shard, bytes).unwrap();
    for args in [
        &["get", pack, "--layer", "0", "--row", "0", "--json"][..],
        &["stats", pack, "--json"],
        &["verify", pack, "--json"],
    ] {
        let (code, report) = report(args);
        assert_eq!((code, report.exit_code), (Some(3), 3), "{args:?}");
    }
}

#[test]
fn a_report_in_a_file_leaves_the_text_where_it_is() {
    let folder = Folder::new();
    let file = folder.at("report.json");
    let rows = ["rows", "--scheme", "longcat-flash-lite", "--tokens", "1,2"];
    let said = ok(&[&rows[..], &[&format!("--json={file}")]].concat());
    assert_eq!(said, ok(&rows));
    let report: Envelope = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(report.report["tokens"], serde_json::json!([1, 2]));
    // Alone, it takes the place of the text.
    let alone = ok(&[&rows[..], &["--json"]].concat());
    assert_eq!(alone.lines().count(), 1);

    let nowhere = folder.at("report.json/below");
    let output = run(&[&rows[..], &[&format!("--json={nowhere}")]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("report.json"));
}
