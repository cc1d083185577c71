//! The README shows the example that is compiled, and every example runs.

use std::{fs, process::Command};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Folder, package, example, and what it prints first.
const EXAMPLES: [(&str, &str, &str, &str); 5] = [
    ("cuda", "engram-cuda", "gpu_ring", "layer 1: 12 rows, "),
    (
        "store",
        "engram-tables",
        "lookup",
        "layer 1: 12 rows, first value ",
    ),
    ("store", "engram-tables", "profile", "126 rows seeded\n"),
    (
        "store",
        "engram-tables",
        "shared_cache",
        "first store, layer 1: 12 rows, ",
    ),
    ("store", "engram-tables", "tickets", "waited: 768 values\n"),
];

#[test]
fn the_readme_shows_the_example_as_it_is() {
    let example = fs::read_to_string(format!("{ROOT}/engine/store/examples/lookup.rs")).unwrap();
    let readme = fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    assert!(
        readme.contains(&format!("```rust\n{example}```")),
        "README.md shows another example"
    );
}

#[test]
fn the_examples_run() {
    for (_, package, example, first) in EXAMPLES {
        let run = Command::new(env!("CARGO"))
            .args(["run", "--quiet", "-p", package, "--example", example])
            .current_dir(ROOT)
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&run.stdout);
        let errors = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{example}: {errors}");
        assert!(out.starts_with(first), "{example}: {out}");
    }
}

#[test]
fn no_example_is_left_out() {
    for folder in ["cuda", "store"] {
        let files = fs::read_dir(format!("{ROOT}/engine/{folder}/examples")).unwrap();
        for file in files {
            let path = file.unwrap().path();
            assert!(
                EXAMPLES
                    .iter()
                    .any(|&(of, _, example, _)| of == folder
                        && path.ends_with(format!("{example}.rs"))),
                "{} is not run here",
                path.display()
            );
        }
    }
}
