//! What commands tell on standard error, and what they say of themselves.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::{fs, process::Command};

use common::{Folder, PROGRAM, ok, run, text};
use serde_json::Value;

/// A small pack in `folder`.
fn pack(folder: &Folder) -> String {
    let checkpoint = folder.synth("longcat-flash-lite", "checkpoint");
    let pack = folder.at("pack");
    ok(&["build", &checkpoint, "-o", &pack]);
    pack
}

#[test]
fn the_levels_of_the_command_line_and_of_the_variable() {
    let folder = Folder::new();
    let pack = pack(&folder);
    let get = ["get", &pack, "--layer", "0", "--row", "0"];
    let told = |more: &[&str], variable: Option<&str>| {
        let mut command = Command::new(PROGRAM);
        command.args(get).args(more).env_remove("ENGRAM_LOG");
        if let Some(directives) = variable {
            command.env("ENGRAM_LOG", directives);
        }
        let output = command.output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    assert_eq!(told(&[], None), (Some(0), String::new()));
    let (_, once) = told(&["-v"], None);
    assert!(
        once.contains("opened; backend: pread") && !once.contains("lookup"),
        "{once}"
    );
    let (_, twice) = told(&["-vv"], None);
    assert!(
        twice.contains("trace: lookup{layer=0 rows=1}: close"),
        "{twice}"
    );
    let (_, by_variable) = told(&[], Some("engram=debug"));
    assert!(by_variable.contains("debug: open{"), "{by_variable}");
    // The command line says it more plainly.
    assert_eq!(told(&["-q"], Some("trace")).1, "");
    let (code, wrong) = told(&[], Some("engram=loud"));
    assert_eq!(code, Some(2), "{wrong}");
    assert!(wrong.contains("ENGRAM_LOG is `engram=loud`"), "{wrong}");
    assert_eq!(told(&["-q", "-v"], None).0, Some(2));
}

#[test]
fn progress_comes_as_lines() {
    let folder = Folder::new();
    let pack = pack(&folder);
    let told = |form: &[&str]| {
        let output = run(&[&["verify", &pack][..], form].concat());
        assert!(output.status.success());
        text(&output.stderr)
    };
    let json = told(&["--progress", "json"]);
    let last: Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!(last["progress"], "verifying");
    assert!(
        last["bytes"] == last["of"] && last["of"].as_u64() > Some(0),
        "{json}"
    );
    assert!(told(&["--progress", "plain"]).starts_with("verifying: "));
    for silent in [
        &["--progress", "none"][..],
        &["--progress", "plain", "-q"],
        &[],
    ] {
        assert_eq!(told(silent), "", "{silent:?}");
    }
}

#[test]
fn shells_and_manuals_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = ok(&["completions", shell]);
        for word in ["doctor", "dry-run", "progress"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert!(ok(&["man"]).starts_with(".ie"));
    let folder = Folder::new();
    let pages = folder.at("man1");
    ok(&["man", "-o", &pages]);
    let page = |name: &str| fs::read_to_string(folder.join("man1").join(name)).unwrap();
    assert!(page("engram-pack.1").contains("Exit codes"));
    assert!(page("engram-pack-build.1").contains("resume"));
}

#[test]
fn help_has_the_exit_codes_and_what_a_stop_leaves() {
    let help = ok(&["--help"]);
    for line in [
        "0  done",
        "1  it could not",
        "2  wrong usage",
        "3  something is damaged",
    ] {
        assert!(help.contains(line), "{help}");
    }
    assert!(help.contains("[aliases: info, ls]"), "{help}");
    let build = ok(&["build", "--help"]);
    assert!(
        build.contains("Ctrl-C") && build.contains("--resume"),
        "{build}"
    );
}
