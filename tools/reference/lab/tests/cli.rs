//! The command, from end to end.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod command;
mod golden;

use std::{fs, io, process::Command};

use serde_json::{Value, json};

use command::{fails, succeeds, text};
use golden::{golden, pack};

#[test]
fn prompts_become_tokens_and_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let model = golden("engram_v41");
    let pack = pack(&model, &folder);
    let mut seen = Vec::new();
    for reader in ["direct", "memory", "mmap"] {
        let (out, report) = succeeds(&[
            "generate",
            "--model",
            text(&model),
            "--pack",
            text(&pack),
            "--prompt",
            "The cat sat",
            "--prompt",
            "A dog",
            "--max-tokens",
            "6",
            "--chunk",
            "2",
            "--reader",
            reader,
            "--json",
        ]);
        for part in [
            "The cat sat",
            "prefill: ",
            "decode: ",
            "waited, ms",
            "row cache",
        ] {
            assert!(out.contains(part), "{part} is not in: {out}");
        }
        let tokens = |prompt: usize| report["prompts"][prompt]["tokens"].clone();
        assert_eq!(tokens(0).as_array().unwrap().len(), 6);
        seen.push([tokens(0), tokens(1)]);

        // 6 columns, for every token but the last of each text.
        let asked = report["prefill"]["tokens"].as_u64().unwrap() + 2 * 5;
        let tiers = ["prefill", "decode"].map(|phase| report[phase]["tiers"].as_array().unwrap());
        for (prefill, decode) in tiers[0].iter().zip(tiers[1]) {
            let tier = json!([prefill, decode]);
            let rows = |name: &str| -> u64 {
                let of = |phase: &Value| phase[name].as_u64().unwrap();
                of(prefill) + of(decode)
            };
            let [memory, cached, drive] = ["memory", "cached", "drive"].map(rows);
            assert_eq!(memory + cached + drive, 6 * asked, "{tier}");
            assert_eq!(reader == "direct", drive > 0, "{tier}");
            assert_eq!(reader != "direct", memory > 0, "{tier}");
        }
        let layers = report["decode"]["layers"].as_array().unwrap();
        let with_rows: Vec<bool> = layers
            .iter()
            .map(|layer| layer["engram"].is_object())
            .collect();
        assert_eq!(with_rows, [true, false, true]);
    }
    assert!(seen.iter().all(|tokens| tokens == &seen[0]));
}

#[test]
fn a_reader_that_leaves_early_is_no_error_to_tell() {
    let folder = tempfile::tempdir().unwrap();
    let model = golden("engram_demo");
    let pack = pack(&model, &folder);
    let models = ["--model", text(&model), "--pack", text(&pack)];
    let prompt = ["--prompt", "The cat sat"];
    for command in ["generate", "gates", "lens", "similarity", "classes"] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let ended = Command::new(env!("CARGO_BIN_EXE_engram-model"))
            .arg(command)
            .args([&models[..], &prompt].concat())
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!(ended.status.code(), Some(1), "{command}: {ended:?}");
        assert!(ended.stderr.is_empty(), "{command}: {ended:?}");
    }
}

#[test]
fn drawn_texts_repeat_with_their_seed() {
    let folder = tempfile::tempdir().unwrap();
    let model = golden("engram_demo");
    let pack = pack(&model, &folder);
    let made = |seed: &str| {
        let (model, pack) = (text(&model), text(&pack));
        let (_, report) = succeeds(&[
            "generate",
            "--model",
            model,
            "--pack",
            pack,
            "--prompt",
            "The",
            "--temperature",
            "1.5",
            "--top-k",
            "50",
            "--top-p",
            "0.95",
            "--seed",
            seed,
            "--json",
        ]);
        report["prompts"][0]["tokens"].clone()
    };
    assert_eq!(made("1"), made("1"));
    assert_ne!(made("1"), made("2"));
}

#[test]
fn a_made_up_model_is_packed_run_and_measured() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let tokenizer = golden("engram_v41").join("tokenizer.json");
    let synth = [
        "synth",
        "--tokenizer",
        text(&tokenizer),
        "--output",
        text(&model),
        "--scale",
        "100000",
        "--layers",
        "6",
        "--hidden",
        "64",
        "--experts",
        "4",
    ];
    let (out, _) = succeeds(&synth);
    assert!(out.contains("parameters in the decoder"), "{out}");
    fails(&synth, "is not empty");
    let pack = pack(&model, &folder);
    let (model, pack) = (text(&model), text(&pack));
    succeeds(&[
        "generate",
        "--model",
        model,
        "--pack",
        pack,
        "--prompt",
        "The",
        "--max-tokens",
        "3",
    ]);
    let trace = folder.path().join("trace.u32le");
    let tokens: Vec<u8> = (0..64_u32)
        .flat_map(|id| (id * 5 % 320).to_le_bytes())
        .collect();
    fs::write(&trace, tokens).unwrap();
    let bench = [
        "bench",
        "--model",
        model,
        "--pack",
        pack,
        "--trace",
        text(&trace),
        "--prefill",
        "12",
        "--chunk",
        "5",
        "--decode",
        "2",
        "--rounds",
        "3",
        "--json",
    ];
    let (out, report) = succeeds(&bench);
    assert!(
        out.contains("overhead") && out.contains("drive alone"),
        "{out}"
    );
    let lines = report.as_array().unwrap();
    assert_eq!(lines.len(), 4);
    assert!(
        lines
            .iter()
            .all(|line| line["decode_ms"].as_f64().unwrap() > 0.0)
    );
    assert_eq!(lines[0]["prefill_ratio"], 1.0);
    let (Some(rounds), mut long) = (bench.iter().position(|&arg| arg == "3"), bench) else {
        unreachable!("they are named above");
    };
    long[rounds] = "30";
    fails(&long, "has 64 tokens, 31 rounds of 14 need more");
}

#[test]
fn bad_input_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let model = golden("engram_demo");
    let pack = pack(&model, &folder);
    let (model, pack) = (text(&model), text(&pack));
    let generate = ["generate", "--model", model, "--pack", pack];
    let with = |args: &[&'static str]| [&generate[..], args].concat();
    fails(&with(&[]), "--prompt");
    fails(&with(&["--prompt", "A", "--chunk", "0"]), "non-zero");
    fails(
        &with(&["--prompt", "A", "--temperature=-1"]),
        "temperature is -1",
    );
    fails(
        &with(&["--prompt", "A", "--temperature", "1", "--top-p", "2"]),
        "top_p is 2, expected 0 to 1",
    );
    if !cfg!(feature = "cuda") {
        fails(&with(&["--prompt", "A", "--cuda", "0"]), "cuda");
    }
    let other = golden("engram_v41");
    let other = [
        "generate",
        "--model",
        text(&other),
        "--pack",
        pack,
        "--prompt",
        "A",
    ];
    fails(&other, "in the pack");
    let none = folder.path().join("none");
    let none = [
        "generate",
        "--model",
        text(&none),
        "--pack",
        pack,
        "--prompt",
        "A",
    ];
    fails(&none, "tokenizer.json");
}
