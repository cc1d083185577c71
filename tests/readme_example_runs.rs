//! The example in the README is the one that is compiled, and it runs.

use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[test]
fn the_readme_shows_the_example_as_it_is() {
    let example =
        std::fs::read_to_string(format!("{ROOT}/engine/store/examples/lookup.rs")).unwrap();
    let readme = std::fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    assert!(
        readme.contains(&format!("```rust\n{example}```")),
        "README.md shows another example"
    );
}

#[test]
fn the_example_runs() {
    let run = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "-p", "engram", "--example", "lookup"])
        .current_dir(ROOT)
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    assert!(
        out.starts_with("layer 1: 12 rows, first value ") && out.contains("layer 3: 12 rows"),
        "{out}"
    );
}
