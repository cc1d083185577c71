//! Every command prints the system's answer once.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::{fs, process::Command};

use common::{Folder, PROGRAM, ok, text};

/// Runs the command, whose temporary folders would lie in `temporary`.
fn said(temporary: &str, args: &[&str]) -> String {
    let mut command = Command::new(PROGRAM);
    let output = command
        .args(args)
        .env("TMPDIR", temporary)
        .output()
        .unwrap();
    assert!(!output.status.success(), "{args:?}");
    text(&output.stderr) + &text(&output.stdout)
}

#[test]
fn by_every_command() {
    let folder = Folder::new();
    let deepseek = &folder.synth("deepseek-v4.1-flash", "deepseek");
    let [packed, attached, bare] = &["packed", "attached", "bare"].map(|name| folder.at(name));
    ok(&["build", deepseek, "-o", packed]);
    ok(&["attach", deepseek, "-o", attached]);
    ok(&["build", deepseek, "-o", bare]);
    for name in ["layer-01/order-2-head-0.shard", "token_map.u32le"] {
        fs::remove_file(folder.join("bare").join(name)).unwrap();
    }
    let (file, nothing) = (&folder.at("file"), &folder.at("nothing"));
    fs::write(file, [1, 0, 0, 0]).unwrap();
    let below = &folder.at("file/below");
    let moved = &folder.synth("deepseek-v4.1-flash", "moved");
    fs::remove_file(folder.join("moved/model-00001-of-00002.safetensors")).unwrap();

    let synth = [
        "synth",
        "--scheme",
        "deepseek-v4.1-flash",
        "--scale",
        "1000000",
        "-o",
    ];
    let profile = ["profile", "--scheme", "longcat-flash-lite", "-o"];
    let row = ["--layer", "1", "--row", "3"];
    for args in [
        &[&synth[..], &[below]].concat()[..],
        &[&synth[..], &[nothing, "--tokenizer", below]].concat(),
        &["build", nothing, "-o", below],
        &["build", moved, "-o", nothing],
        &["build", deepseek, "-o", below],
        &["build", deepseek, "-o", nothing, "--tokenizer", below],
        &["attach", nothing, "-o", below],
        &["attach", moved, "-o", nothing],
        &["attach", deepseek, "-o", below],
        &["lean", deepseek, below, "-o", nothing],
        &["lean", deepseek, packed, "-o", below],
        &["restore", below, "-o", nothing],
        &["inspect", below],
        &["verify", below],
        &["verify", bare],
        &["verify", attached, "--checkpoint", moved],
        &[&profile[..], &[below, "--trace", file]].concat(),
        &[&profile[..], &[nothing, "--trace", nothing]].concat(),
        &[
            &profile[..],
            &[nothing, "--text", nothing, "--tokenizer", nothing],
        ]
        .concat(),
        &["rows", bare, "--tokens", "1"],
        &[&["get", bare][..], &row].concat(),
        &[&["get", attached, "--checkpoint", moved][..], &row].concat(),
        &["demo"],
    ] {
        let said = said(below, args);
        assert!(said.contains("os error"), "{args:?}: {said}");
        for line in said.lines() {
            assert!(line.matches("os error").count() <= 1, "{args:?}: {line}");
            let parts: Vec<&str> = line.split(": ").collect();
            for (at, part) in parts.iter().enumerate() {
                assert!(
                    !parts[..at].contains(part),
                    "{args:?} says {part:?} twice: {line}"
                );
            }
        }
    }
}
