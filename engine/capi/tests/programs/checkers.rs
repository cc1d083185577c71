//! Programs run clean under valgrind and the address sanitizer, and leave nothing behind.

use std::process::Command;

use crate::{
    attached::{attach, tensor_files},
    harness::{LANGUAGES, Workshop, copy_pack, has, pack, run},
};

/// Arguments of each program for a pack whose copy may be spoiled, by the name of its source.
fn runs(workshop: &Workshop) -> [(&'static str, Vec<String>); 8] {
    let path = |name: &str| pack(name).display().to_string();
    let words = |words: &str| words.split(' ').map(String::from).collect::<Vec<_>>();
    let rows = |way: &str, rest: &str| {
        let options = r#"{"reader": "direct_threads", "cache_bytes": "1 MiB"}"#;
        [
            vec![path("deepseek"), options.into(), way.into()],
            words(rest),
        ]
        .concat()
    };
    let scratch = workshop.path().join("scratch");
    copy_pack(&pack("deepseek"), &scratch);
    let shard = scratch.join("layer-01/order-2-head-0.shard");
    let mut spoiled = vec![scratch, shard, "none".into(), attach(workshop.path())];
    spoiled.extend(tensor_files(workshop.path()));
    let spoiled = spoiled.iter().map(|path| path.display().to_string());
    [
        (
            "examples/look_up.c",
            [vec![path("qwen")], words("3 10 31 6")].concat(),
        ),
        (
            "examples/tickets.c",
            [vec![path("deepseek")], words("3 10 31 6")].concat(),
        ),
        (
            "examples/windows.c",
            [vec![path("longcat")], words("2 3 10 -1 6")].concat(),
        ),
        (
            "tests/c/hash.c",
            [vec![path("demo")], words("3 10 -1 6")].concat(),
        ),
        ("tests/c/rows.c", rows("lookup", "1 i32 1 300 5 -1 7 5 110")),
        (
            "tests/c/rows.c",
            rows("submit-parts", "3 u64 0 0 5 -1 7 5 110"),
        ),
        ("tests/c/threads.c", vec![path("deepseek"), "{}".into()]),
        (
            "tests/c/statuses.c",
            [vec![path("deepseek")], spoiled.collect()].concat(),
        ),
    ]
}

#[test]
fn valgrind_finds_nothing() {
    let [c, _] = LANGUAGES;
    if !has(c.1) || !has("valgrind") {
        return;
    }
    let workshop = Workshop::new();
    for (source, args) in runs(&workshop) {
        let program = workshop.compile(source, c, &[]);
        let mut command = workshop.command("valgrind");
        // What Rust notes of the main thread lives as long as it, and only looks lost.
        let kinds = [
            "--show-leak-kinds=definite,indirect",
            "--errors-for-leak-kinds=definite,indirect",
        ];
        command
            .args([
                "--quiet",
                "--error-exitcode=9",
                "--leak-check=full",
                "--fair-sched=yes",
            ])
            .args(kinds);
        run(command.arg(program).args(args));
    }
}

#[test]
fn the_address_sanitizer_finds_nothing() {
    let [c, _] = LANGUAGES;
    if !has(c.1) {
        return;
    }
    let workshop = Workshop::new();
    if !has_sanitizer(&workshop) {
        eprintln!("skipped: gcc has no address sanitizer");
        return;
    }
    for (source, args) in runs(&workshop) {
        let program = workshop.compile(
            source,
            c,
            &["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
        );
        run(workshop.command(program).args(args));
    }
}

fn has_sanitizer(workshop: &Workshop) -> bool {
    let source = workshop.path().join("nothing.c");
    std::fs::write(&source, "int main(void) { return 0; }").unwrap();
    let mut compiler = Command::new("gcc");
    compiler
        .args(["-fsanitize=address,undefined", "-o"])
        .arg(workshop.path().join("nothing"))
        .arg(source);
    compiler.output().unwrap().status.success()
}
