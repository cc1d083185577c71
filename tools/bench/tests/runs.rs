//! Every benchmark runs on a small pack and writes what it says it writes. Figures mean nothing here.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{fs, io, path::Path, process::Command};

use engram::{SchemeName, Sequence, read_hasher};
use engram_checkpoint::Checkpoint;
use engram_format::ProfileCounter;
use engram_kit::{envelope::Envelope, figure::Figure, texts::read_trace};
use engram_pack::{BuildOptions, SynthOptions, build, synth};
use serde_json::{Value, json};

const REPORT: &str = "--json=out.json";

/// The tables that a run prints. With [`REPORT`], its report is in `out.json`.
fn engram_bench(folder: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_engram-bench"))
        .current_dir(folder)
        .args(args)
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The report of the last run, whose form is the same for all.
fn report(folder: &Path) -> Envelope {
    serde_json::from_slice(&fs::read(folder.join("out.json")).unwrap()).unwrap()
}

/// The figure called `name` of the case that `of` says.
fn figure(folder: &Path, name: &str, of: &[(&str, Value)]) -> Figure {
    let figures = report(folder).figures;
    let is_it = |figure: &&Figure| {
        figure.name == name
            && of
                .iter()
                .all(|(key, value)| figure.of.get(*key) == Some(value))
    };
    let found = figures.iter().find(is_it);
    found
        .unwrap_or_else(|| panic!("no {name} of {of:?} in {figures:?}"))
        .clone()
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
#[expect(clippy::too_many_lines, reason = "one case after another")]
fn every_benchmark() {
    let temporary = prepared();
    let folder = temporary.path();

    // Some file systems, such as memory ones, refuse direct reads, and then there is no drive to measure.
    let refused = Command::new(env!("CARGO_BIN_EXE_engram-bench"))
        .current_dir(folder)
        .args([
            "nvme", "pack", "--rows", "500", "--rounds", "1", "--depth", "8",
        ])
        .args([REPORT, "--plot", "nvme.svg"])
        .output()
        .unwrap();
    if refused.status.success() {
        let rate = figure(folder, "row_rate", &[("reader", json!("io_uring"))]);
        assert_eq!(rate.unit, "rows/s");
        // This pack is so small that the limit means little, which one of two sentences says.
        let caveat = rate.caveat.unwrap_or_default();
        let known = ["too small", "of what was taken for the limit"];
        assert!(
            caveat.is_empty() || known.iter().any(|known| caveat.contains(known)),
            "{caveat}"
        );
        let latency = [("reader", json!("mmap, evicted")), ("rows", json!(24))];
        assert_eq!(figure(folder, "lookup_latency_p99", &latency).unit, "us");
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
        "dram", "pack", "--rows", "20000", "--rounds", "1", REPORT, "--plot", "dram.svg",
    ];
    assert!(engram_bench(folder, &dram).contains("row cache"));
    let bare = [
        ("reader", json!("bare prefetching copy")),
        ("rows_per_call", json!(192)),
    ];
    let bare = figure(folder, "row_rate", &bare);
    assert_eq!(bare.of_limit, Some(1.0));
    // Some megabytes fit every processor's caches.
    assert!(
        bare.caveat
            .is_none_or(|caveat| caveat.starts_with("too small"))
    );
    let pack = report(folder).pack.unwrap();
    assert_eq!(
        (pack.scheme.as_str(), pack.attached),
        ("deepseek-v4.1-flash", false)
    );
    assert!(drawn(folder, "dram.svg", "row cache"));

    // Some rows must be left that are neither read nor edited.
    let edited = [
        "dram",
        "pack",
        "--rows",
        "500",
        "--rounds",
        "1",
        "--overlay",
        "2000",
    ];
    assert!(engram_bench(folder, &edited).contains("rows edited, 1 % of those read"));

    let mixed = [
        "mixed",
        "pack",
        "--trace",
        "trace_squares.u32le",
        "--tokens",
        "1024",
        "--memory",
        "64",
        "--rounds",
        "1",
        REPORT,
        "--plot",
        "mixed.svg",
    ];
    assert!(engram_bench(folder, &mixed).contains("squares"));
    assert!(drawn(folder, "mixed.svg", "squares"));
    let on_squares = [("storage", json!("mmap")), ("text", json!("squares"))];
    let decode = figure(folder, "decode_latency_p50", &on_squares);
    assert!(decode.value > Some(0.0) && decode.rounds.len() == 1);
    assert!(
        decode.caveat.unwrap().starts_with("too small"),
        "all rows fit 64 MiB"
    );

    let one = [
        "mixed", "pack", "--tokens", "1024", "--memory", "64", "--rounds", "1",
    ];
    let one = [&one[..], &["--only", "mmap", "--plot", "one.svg", "--json"]].concat();
    assert!(engram_bench(folder, &one).contains("even"));
    assert!(drawn(folder, "one.svg", "mmap"));

    let locality = [
        "locality",
        "--trace",
        "trace_squares.u32le",
        REPORT,
        "--plot",
        "locality.svg",
    ];
    assert!(engram_bench(folder, &locality).contains("seen before"));
    assert!(drawn(folder, "locality.svg", "squares"));
    let squares = [("text", json!("squares")), ("tokens", json!(6_000))];
    assert!(figure(folder, "seen_before", &squares).value > Some(0.0));
    let figures = report(folder).figures;
    assert!(
        figures
            .iter()
            .all(|figure| figure.of.get("seeded") != Some(&json!(true)))
    );

    profiles(folder, &locality);
}

#[test]
fn packs_whose_stripes_have_moved() {
    let temporary = prepared();
    let folder = temporary.path();
    let checkpoint = Checkpoint::open(&folder.join("checkpoint"), None).unwrap();
    let options = BuildOptions {
        stripes: vec![folder.join("first"), folder.join("second")],
        ..BuildOptions::default()
    };
    build(&checkpoint, &folder.join("striped"), &options, &|_| ()).unwrap();
    fs::rename(folder.join("second"), folder.join("moved")).unwrap();

    let dram = ["dram", "striped", "--rows", "20000", "--rounds", "1"];
    let mixed = [
        "mixed", "striped", "--tokens", "1024", "--memory", "64", "--rounds", "1", "--only", "mmap",
    ];
    let serve = [
        "serve",
        "striped",
        "--seconds",
        "0.2",
        "--prompt",
        "64",
        "--rounds",
        "1",
        "--only",
        "mmap",
    ];
    let pcie = [
        "pcie",
        "striped",
        "--stand-in",
        "--rows",
        "48",
        "--passes",
        "2",
        "--rounds",
        "1",
    ];
    for args in [&dram[..], &mixed, &serve, &pcie] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_engram-bench"));
        let refused = command.current_dir(folder).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("second/layer-01/"), "{args:?}: {said}");
        engram_bench(folder, &[args, &["--stripe", "1=moved"]].concat());
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error_to_tell() {
    let temporary = prepared();
    let trace = ["--trace", "trace_squares.u32le"];
    let dram = ["dram", "pack", "--rows", "20000", "--rounds", "1"];
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
        assert!(told.is_empty(), "{args:?}: {told}");
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
    let largest = |seeded: bool| {
        let of = [
            ("seeded", json!(seeded)),
            ("cache_mib", json!(4_096)),
            ("order", json!("all")),
        ];
        figure(folder, "hit_rate", &of).value
    };
    assert!(largest(true) > largest(false));

    let seeding = [
        "seeding",
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
        REPORT,
    ];
    assert!(engram_bench(folder, &seeding).contains("squares, 2 MiB"));
    let of = |name: &str, setting: &str, more: &[(&str, Value)]| {
        let case = [("setting", json!(setting)), ("memory_mib", json!(2))];
        figure(folder, name, &[&case[..], more].concat()).value
    };
    let hits = |setting: &str| of("hit_rate_of_first", setting, &[("order", json!(2))]);
    assert!(hits("cache, seeded") > hits("cache"));
    assert!(of("seeded_rows", "cache, seeded", &[]) > Some(0.0));
    assert_eq!(of("seeded_rows", "cache", &[]), Some(0.0));
}

#[test]
fn every_way_to_a_device() {
    let temporary = prepared();
    let folder = temporary.path();
    let pcie = [
        "pcie",
        "pack",
        "--stand-in",
        "--rows",
        "48",
        "--rows",
        "1000",
        "--passes",
        "5",
    ];
    let pcie = [&pcie[..], &["--rounds", "1", REPORT, "--plot", "pcie.svg"]].concat();
    assert!(engram_bench(folder, &pcie).contains("zero-copy gather"));
    assert!(drawn(folder, "pcie.svg", "hot rows"));
    let figures = report(folder).figures;
    let times: Vec<&Figure> = figures.iter().filter(|of| of.name == "pass_time").collect();
    assert_eq!(times.len(), 2 * 6);
    assert!(times.iter().all(|of| of.value > Some(0.0)));
    assert!(report(folder).gpu.is_some());

    for more in [&["--drive"][..], &["--trace", "trace_squares.u32le"]] {
        let overlap = [
            "overlap",
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
            &["--steps", "4", "--rounds", "2", REPORT],
            more,
        ]
        .concat();
        assert!(engram_bench(folder, &overlap).contains("rows through the ring"));
        assert_eq!(report(folder).report["rows_per_step"], 8 * 24 * 2);
        let ring = [("rows", json!("through the ring"))];
        assert!(figure(folder, "step_time", &ring).value > Some(0.0));
    }
}
