//! Rows by the tokens of a text, and their values in every form.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use common::{Folder, PROGRAM, fails, ok, run, text};
use serde_json::Value;

const TOKENIZER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../reference/model/tests/golden/engram_v41/tokenizer.json"
);
const TEXT: &str = "The sea, the sea";

fn pack(folder: &Folder) -> String {
    let checkpoint = folder.synth("longcat-flash-lite", "checkpoint");
    let pack = folder.at("pack");
    ok(&["build", &checkpoint, "-o", &pack]);
    pack
}

fn report(args: &[&str]) -> Value {
    let mut report: Value = serde_json::from_str(&ok(&[args, &["--json"]].concat())).unwrap();
    report["report"].take()
}

#[test]
fn a_text_reads_the_rows_of_its_tokens() {
    let folder = Folder::new();
    let pack = &pack(&folder);
    let file = &folder.at("text.txt");
    fs::write(file, TEXT).unwrap();
    let tokenizer = ["--tokenizer", TOKENIZER];
    let rows = |source: &[&str]| report(&[&["rows", pack][..], source].concat());
    let by_prompt = rows(&[&["--prompt", TEXT][..], &tokenizer].concat());
    let tokens: Vec<String> = (by_prompt["tokens"].as_array().unwrap().iter())
        .map(Value::to_string)
        .collect();
    assert!(tokens.len() > 2, "{by_prompt}");
    assert_eq!(by_prompt, rows(&["--tokens", &tokens.join(",")]));
    assert_eq!(
        by_prompt,
        rows(&[&["--text", file][..], &tokenizer].concat())
    );

    let mut command = Command::new(PROGRAM);
    command
        .args(["rows", pack, "--text", "-", "--json"])
        .args(tokenizer);
    let running = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut running = running.unwrap();
    running
        .stdin
        .take()
        .unwrap()
        .write_all(TEXT.as_bytes())
        .unwrap();
    let output = running.wait_with_output().unwrap();
    let from_stdin: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(from_stdin["report"], by_prompt);

    // In the order of the rows that `rows` prints.
    let got = report(
        &[
            &["get", pack, "--layer", "0", "--prompt", TEXT][..],
            &tokenizer,
        ]
        .concat(),
    );
    let flat: Vec<&Value> = (by_prompt["rows"].as_array().unwrap().iter())
        .flat_map(|position| position[0].as_array().unwrap())
        .collect();
    assert_eq!(
        got["row_ids"]
            .as_array()
            .unwrap()
            .iter()
            .collect::<Vec<_>>(),
        flat
    );
    assert_eq!(got["rows"].as_array().unwrap().len(), flat.len());
}

#[test]
fn wrong_sources_are_refused() {
    let folder = Folder::new();
    let pack = &pack(&folder);
    for args in [
        &["rows", pack][..],
        &["rows", pack, "--prompt", TEXT],
        &[
            "rows",
            pack,
            "--tokens",
            "1",
            "--prompt",
            TEXT,
            "--tokenizer",
            TOKENIZER,
        ],
        &["get", pack, "--layer", "0"],
        &["get", pack, "--layer", "0", "--row", "1", "--tokens", "1"],
    ] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
    let get = ["get", pack, "--layer", "0"];
    let empty = [&get[..], &["--prompt", "", "--tokenizer", TOKENIZER]].concat();
    assert!(fails(&empty).contains("the text has no tokens"));
    let binary = [&get[..], &["--row", "1", "--as", "npy"]].concat();
    assert!(fails(&binary).contains("--output"));
    let both = [&get[..], &["--row", "1", "-o", "-", "--json"]].concat();
    assert!(fails(&both).contains("standard output cannot have"));
    let beyond = [
        &get[..],
        &["--row", "18446744073709551615", "--as", "raw", "-o"],
    ]
    .concat();
    let out = folder.at("out.raw");
    assert!(fails(&[&beyond[..], &[&out]].concat()).contains("outside the table"));
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        2,
        "nothing is left of a file"
    );
}

#[test]
fn every_form_has_the_same_rows() {
    let folder = Folder::new();
    let pack = &pack(&folder);
    let get = |form: &str| -> Vec<u8> {
        let out = folder.at(form);
        ok(&[
            "get", pack, "--layer", "0", "--row", "5,0,5", "--as", form, "-o", &out,
        ]);
        fs::read(out).unwrap()
    };
    let raw = get("raw");
    let hex = ok(&["get", pack, "--layer", "0", "--row", "5,0,5"]);
    let of_raw: Vec<String> = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex.replace('\n', ""), of_raw.concat());
    assert_eq!(text(&get("hex")), hex);

    let f32s: Vec<f32> = get("f32")
        .as_chunks()
        .0
        .iter()
        .map(|&word| f32::from_le_bytes(word))
        .collect();
    let values = text(&get("values"));
    let of_text: Vec<f32> = values
        .split_whitespace()
        .map(|value| value.parse().unwrap())
        .collect();
    assert_eq!(f32s, of_text);
    assert_eq!(values.lines().count(), 3);
    let width = f32s.len() / 3;
    assert_eq!(f32s[..width], f32s[2 * width..]);

    // LongCat's rows are BF16.
    assert_eq!(get("bf16"), raw);
    assert_eq!(get("f16").len(), raw.len());

    let npy = get("npy");
    let (start, data) = npy.split_at(npy.len() - 4 * f32s.len());
    assert!(start.starts_with(b"\x93NUMPY\x01\x00") && start.len() % 64 == 0);
    assert!(text(&start[10..]).contains(&format!("'shape': (3, {width})")));
    assert_eq!(data, get("f32"));

    let output = run(&[
        "get", pack, "--layer", "0", "--row", "5,0,5", "--as", "raw", "-o", "-",
    ]);
    assert_eq!(output.stdout, raw);
}
