//! Every benchmark runs on a small pack and writes what it says it writes. Figures mean nothing here.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{fs, io, path::Path, process::Command};

use engram::{SchemeName, Sequence, read_hasher};
use engram_checkpoint::Checkpoint;
use engram_format::ProfileCounter;
use engram_kit::texts::read_trace;
use engram_pack::{BuildOptions, SynthOptions, build, synth};
use serde_json::Value;

/// The tables that a run prints. With `--json`, its report is kept in `out.json`.
fn engram_bench(folder: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_engram-bench"))
        .current_dir(folder)
        .args(args)
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {errors}");
    if args.contains(&"--json") {
        fs::write(folder.join("out.json"), output.stdout).unwrap();
        return errors;
    }
    String::from_utf8(output.stdout).unwrap()
}

fn json(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("out.json")).unwrap()).unwrap()
}

/// Whether the picture is whole and has `word` in its legend.
fn drawn(folder: &Path, name: &str, word: &str) -> bool {
    let picture = fs::read_to_string(folder.join(name)).unwrap();
    picture.ends_with("</svg>\n") && picture.contains(word)
}

/// A folder with a pack and a trace.
fn prepared() -> tempfile::TempDir {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let options = SynthOptions {
        scheme: SchemeName::DeepSeekV41Flash,
        scale: 100_000,
        seed: 1,
        tokenizer: None,
    };
    synth(&options, &folder.join("checkpoint"), &|_| ()).unwrap();
    let checkpoint = Checkpoint::open(&folder.join("checkpoint"), None).unwrap();
    let pack = folder.join("pack");
    build(&checkpoint, &pack, &BuildOptions::default(), &|_| ()).unwrap();
    let tokens: Vec<u8> = (0..6_000_u32)
        .flat_map(|at| (at * at % 5_000).to_le_bytes())
        .collect();
    fs::write(folder.join("trace_squares.u32le"), tokens).unwrap();
    temporary
}

#[test]
fn every_benchmark() {
    let temporary = prepared();
    let folder = temporary.path();

    // Some file systems, such as memory ones, refuse direct reads, and then there is no drive to measure.
    let refused = Command::new(env!("CARGO_BIN_EXE_engram-bench"))
        .current_dir(folder)
        .args([
            "nvme", "--pack", "pack", "--rows", "500", "--rounds", "1", "--depth", "8",
        ])
        .args(["--json", "--plot", "nvme.svg"])
        .output()
        .unwrap();
    if refused.status.success() {
        fs::write(folder.join("out.json"), refused.stdout).unwrap();
        assert!(json(folder).as_array().unwrap().len() >= 5);
        assert!(drawn(folder, "nvme.svg", "bare ring"));
    } else {
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(
            said.contains("O_DIRECT") || said.contains("io_uring"),
            "{said}"
        );
        println!("skipped: nvme: {said}");
    }

    let dram = [
        "dram", "--pack", "pack", "--rows", "20000", "--rounds", "1", "--json", "--plot",
        "dram.svg",
    ];
    assert!(engram_bench(folder, &dram).contains("row cache"));
    assert_eq!(json(folder)[0]["of_limit"], 1.0);
    assert!(drawn(folder, "dram.svg", "row cache"));

    let mixed = [
        "mixed",
        "--pack",
        "pack",
        "--trace",
        "trace_squares.u32le",
        "--tokens",
        "1024",
        "--memory",
        "64",
        "--rounds",
        "1",
        "--json",
        "--plot",
        "mixed.svg",
    ];
    assert!(engram_bench(folder, &mixed).contains("squares"));
    assert!(drawn(folder, "mixed.svg", "squares"));
    assert!(json(folder)["mmap"][0]["traces"]["squares"]["decode_p50_us"].as_f64() > Some(0.0));

    let one = [
        "mixed", "--pack", "pack", "--tokens", "1024", "--memory", "64", "--rounds", "1",
    ];
    let one = [&one[..], &["--only", "mmap", "--plot", "one.svg"]].concat();
    assert!(engram_bench(folder, &one).contains("even"));
    assert!(drawn(folder, "one.svg", "mmap"));

    let locality = [
        "locality",
        "--trace",
        "trace_squares.u32le",
        "--json",
        "--plot",
        "locality.svg",
    ];
    assert!(engram_bench(folder, &locality).contains("seen before"));
    assert!(drawn(folder, "locality.svg", "squares"));
    assert_eq!(json(folder)["squares"]["tokens"], 6_000);
    assert_eq!(json(folder)["squares"].get("seeded_hit_rate"), None);

    profiles(folder, &locality);
}

#[test]
fn a_reader_that_leaves_early_is_no_error_to_tell() {
    let temporary = prepared();
    let trace = ["--trace", "trace_squares.u32le"];
    let dram = ["dram", "--pack", "pack", "--rows", "20000", "--rounds", "1"];
    let locality = [&["locality"][..], &trace].concat();
    for args in [&locality[..], &[&locality[..], &["--json"]].concat(), &dram] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let ended = Command::new(env!("CARGO_BIN_EXE_engram-bench"))
            .current_dir(temporary.path())
            .args(args)
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!(ended.status.code(), Some(1), "{args:?}: {ended:?}");
        let told = String::from_utf8_lossy(&ended.stderr);
        assert!(
            args.contains(&"--json") || told.is_empty(),
            "{args:?}: {told}"
        );
        assert!(!told.contains("error"), "{args:?}: {told}");
    }
}

/// Those that take a profile, after `locality` without one.
fn profiles(folder: &Path, locality: &[&str]) {
    let profile = folder.join("squares.profile");
    let tokens = read_trace(&folder.join("trace_squares.u32le")).unwrap();
    let hasher = read_hasher(folder.join("pack")).unwrap();
    let mut counter = ProfileCounter::new(&hasher);
    counter.count(&mut Sequence::new(), &tokens).unwrap();
    fs::write(profile, counter.finish(1_000).unwrap().to_bytes()).unwrap();
    let seeded = [locality, &["--profile", "squares.profile"]].concat();
    assert!(engram_bench(folder, &seeded).contains("2, seeded"));
    assert!(drawn(folder, "locality.svg", "squares, 2-grams, seeded"));
    let squares = &json(folder)["squares"];
    let largest = |rates: &str| squares[rates]["4096"].as_f64();
    assert!(
        largest("seeded_hit_rate") > largest("hit_rate"),
        "{squares}"
    );

    let seeding = [
        "seeding",
        "--pack",
        "pack",
        "--profile",
        "squares.profile",
        "--trace",
        "trace_squares.u32le",
        "--memory",
        "2",
        "--tokens",
        "1024",
        "--rounds",
        "1",
        "--json",
    ];
    assert!(engram_bench(folder, &seeding).contains("squares, 2 MiB"));
    let runs = &json(folder)["squares, 2 MiB"];
    let hits = |setting: &str| runs[setting][0]["first_hits"]["2"].as_f64();
    assert!(hits("cache, seeded") > hits("cache"), "{runs}");
    assert!(runs["cache, seeded"][0]["seeded_rows"].as_u64() > Some(0));
    assert_eq!(runs["cache"][0]["seeded_rows"], 0);
}

#[test]
fn every_way_to_a_device() {
    let temporary = prepared();
    let folder = temporary.path();
    let pcie = [
        "pcie",
        "--pack",
        "pack",
        "--stand-in",
        "--rows",
        "48",
        "--rows",
        "1000",
        "--passes",
        "5",
    ];
    let pcie = [
        &pcie[..],
        &["--rounds", "1", "--json", "--plot", "pcie.svg"],
    ]
    .concat();
    assert!(engram_bench(folder, &pcie).contains("zero-copy gather"));
    assert!(drawn(folder, "pcie.svg", "hot rows"));
    let figures = json(folder)["figures"].as_array().unwrap().clone();
    assert_eq!(figures.len(), 2 * 6);
    assert!(
        figures
            .iter()
            .all(|of| of["us_per_pass"].as_f64() > Some(0.0))
    );

    for more in [&["--drive"][..], &["--trace", "trace_squares.u32le"]] {
        let overlap = [
            "overlap",
            "--pack",
            "pack",
            "--stand-in",
            "--sequences",
            "8",
            "--layers",
            "16",
            "--layer-us",
            "50",
        ];
        let overlap = [
            &overlap[..],
            &["--steps", "4", "--rounds", "2", "--json"],
            more,
        ]
        .concat();
        assert!(engram_bench(folder, &overlap).contains("rows through the ring"));
        let report = json(folder);
        assert_eq!(report["rows_per_step"], 8 * 24 * 2);
        assert!(report["fetched_us"].as_f64() > Some(0.0));
    }
}
