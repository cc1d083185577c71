//! The commands as a user runs them.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    thread::sleep,
    time::Duration,
};

use engram::SchemeName;
use engram_checkpoint::builtin_token_map;
use serde_json::Value;
use sha2::{Digest, Sha256};

const PROGRAM: &str = env!("CARGO_BIN_EXE_engram-pack");

fn engram_pack(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().unwrap()
}

/// Standard output of a run that must succeed.
fn ok(args: &[&str]) -> String {
    let output = engram_pack(args);
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of a run that must fail with exit code `code`.
fn fails(code: i32, args: &[&str]) -> String {
    let output = engram_pack(args);
    assert_eq!(output.status.code(), Some(code), "{args:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// What a run reports that must succeed.
fn json(args: &[&str]) -> Value {
    let mut envelope: Value = serde_json::from_str(&ok(args)).unwrap();
    envelope["report"].take()
}

fn synth(folder: &Path, scheme: &str, scale: &str) -> String {
    let checkpoint = folder.join("checkpoint").to_str().unwrap().to_owned();
    let report = json(&[
        "synth",
        "--scheme",
        scheme,
        "--scale",
        scale,
        "--seed",
        "3",
        "--output",
        &checkpoint,
        "--json",
    ]);
    assert_eq!(report["scheme"], scheme);
    checkpoint
}

fn digests(folder: &Path) -> Vec<(String, String)> {
    let listed = Command::new("find")
        .arg(folder)
        .args(["-type", "f"])
        .output()
        .unwrap();
    let mut digests: Vec<_> = String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .map(|path| {
            let name = path.strip_prefix(folder.to_str().unwrap()).unwrap();
            (
                name.to_owned(),
                format!("{:x?}", Sha256::digest(fs::read(path).unwrap())),
            )
        })
        .collect();
    digests.sort();
    digests
}

#[test]
fn rows_prints_the_published_rows_of_deepseek_v41() {
    let printed = json(&[
        "rows",
        "--scheme",
        "deepseek-v4.1-flash",
        "--tokens",
        "0,3,15",
        "--json",
    ]);
    let digest = |positions: &[Value]| {
        let mut hash = Sha256::new();
        for row in positions
            .iter()
            .flat_map(|p| p.as_array().unwrap())
            .flat_map(|l| l.as_array().unwrap())
        {
            hash.update(row.as_i64().unwrap().to_le_bytes());
        }
        hash.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert_eq!(printed["layers"], serde_json::json!([1, 14]));
    let rows = printed["rows"].as_array().unwrap();
    assert_eq!(
        digest(&rows[..2]),
        "f5a64799492bea90bc6d87f0cb8a67bb983441e1cd9c12ec2e7b8df6cbcfee1d"
    );
    assert_eq!(
        digest(&rows[2..]),
        "09c32d336e7a23d61ff9ac94674cb30039857eeeb3df82cf475157685d76c530"
    );
    let dead = json(&[
        "rows",
        "--scheme",
        "deepseek-v4.1-flash",
        "--tokens",
        "0,3,15",
        "--dead",
        "1",
        "--json",
    ]);
    assert_eq!(dead["rows"][1][0][0], 4_299_726);
    assert_eq!(dead["rows"][0], printed["rows"][0]);
    assert_ne!(dead["rows"][2], printed["rows"][2]);
}

#[test]
fn rows_refuses_what_is_not_there() {
    let scheme = ["rows", "--scheme", "deepseek-v4.1-flash", "--tokens"];
    let refused = fails(1, &[&scheme[..], &["129280"]].concat());
    assert!(
        refused.contains(
            "token 129280 at position 0 of request 0 is outside the vocabulary of 129280"
        ),
        "{refused}"
    );
    assert!(
        fails(1, &[&scheme[..], &["1", "--dead", "1"]].concat())
            .contains("dead position 1 is outside the 1 tokens")
    );
    assert!(
        fails(1, &[&scheme[..], &["4294967295"]].concat()).contains("outside every vocabulary")
    );
    assert!(
        fails(2, &["rows", "--scheme", "gpt-2", "--tokens", "1"])
            .contains("unknown scheme `gpt-2`")
    );
    assert!(fails(2, &["rows", "--tokens", "1"]).contains("required"));
}

#[test]
fn every_command_explains_itself() {
    for command in [
        "synth",
        "build",
        "attach",
        "inspect",
        "verify",
        "lean",
        "restore",
        "stats",
        "profile",
        "rows",
        "get",
        "doctor",
        "demo",
        "completions",
        "man",
    ] {
        assert!(
            ok(&[command, "--help"]).contains("Usage: engram-pack"),
            "{command}"
        );
        assert!(ok(&["--help"]).contains(command));
    }
}

#[test]
fn the_demo_compares_a_gguf_file_value_for_value() {
    let told = ok(&["demo", "--gguf"]);
    assert!(told.contains("equal, by three readers"), "{told}");
}

#[test]
fn tables_without_a_model_are_packed_by_a_scheme() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let description = r#"{"over_encoding": {
        "scheme": {"name": "mine", "vocab_size": 500, "max_order": 3, "heads": 2, "layers": [
            {"layer": 0, "sizes": {"primes_from": 30000}, "hash": {"rule": "polynomial", "bases": [500, 31]}}]},
        "rows": {"width": 16, "values": "oe.{column}.weight"}}}"#;
    let (file, checkpoint, alone) = (at("mine.json"), at("checkpoint"), at("alone"));
    fs::write(&file, description).unwrap();
    let synth = [
        "synth",
        "--scheme",
        &file,
        "--scale",
        "100",
        "-o",
        &checkpoint,
    ];
    ok(&synth);
    let rows = |pack: &str| json(&["rows", pack, "--tokens", "5,6,7", "--json"])["rows"].clone();
    let pack = at("pack");
    ok(&["build", &checkpoint, "-o", &pack]);
    assert_eq!(rows(&pack)[2][0].as_array().unwrap().len(), 4);

    // The tables alone, by the configuration that was beside them.
    fs::create_dir(&alone).unwrap();
    let config = at("config-elsewhere.json");
    fs::rename(at("checkpoint/config.json"), &config).unwrap();
    for entry in fs::read_dir(&checkpoint).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "safetensors")
        {
            fs::rename(&path, Path::new(&alone).join(path.file_name().unwrap())).unwrap();
        }
    }
    let (attached, again) = (at("attached"), at("again"));
    ok(&["attach", &alone, "--scheme", &config, "-o", &attached]);
    ok(&["build", &alone, "--scheme", &config, "-o", &again]);
    assert_eq!(rows(&attached), rows(&pack));
    let row = |pack: &str| ok(&["get", pack, "--layer", "0", "--row", "7", "--as", "hex"]);
    assert!(row(&attached) == row(&pack) && row(&again) == row(&pack));

    let out = at("out");
    let refused = |arguments: &[&str]| fails(1, &[arguments, &["-o", &out]].concat());
    assert!(refused(&["attach", &alone]).contains("config.json"));
    let unknown = refused(&["attach", &alone, "--scheme", "gpt-2"]);
    assert!(unknown.contains("unknown scheme `gpt-2`"), "{unknown}");
    let own = refused(&["build", "model.gguf", "--scheme", "gemma-4"]);
    assert!(own.contains("leave --scheme out"), "{own}");
    let unknown = refused(&["synth", "--scheme", "gpt-2", "--scale", "9"]);
    assert!(unknown.contains("known are engram-demo-v1, "), "{unknown}");
}

#[test]
fn a_checkpoint_goes_the_whole_way() {
    for (scheme, scale, layer) in [
        ("engram-demo-v1", "20000", "15"),
        ("deepseek-v4.1-flash", "500000", "14"),
        ("qwen3.8-flash-next", "500000", "1"),
        ("longcat-flash-lite", "100000", "0"),
        ("longcat-lite-4096", "100000", "0"),
        ("longcat-2.0", "100000", "0"),
        ("gemma-3n", "1000", "0"),
        ("gemma-4", "1000", "0"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = synth(folder.path(), scheme, scale);
        let [pack, attached] =
            ["pack", "attached"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
        let built = json(&["build", &checkpoint, "-o", &pack, "--jobs", "2", "--json"]);
        assert_eq!(built["shards_resumed"], 0);
        ok(&["attach", &checkpoint, "-o", &attached]);

        let inspected = json(&["inspect", &pack, "--json"]);
        assert_eq!(inspected["manifest"]["scheme"]["name"], scheme);
        assert_eq!(inspected["bytes"], built["bytes_written"]);
        assert!(ok(&["inspect", &attached]).contains("attached to"));

        for pack in [&pack, &attached] {
            let verified = json(&["verify", pack, "--json"]);
            assert_eq!(verified["damage"], serde_json::json!([]));
        }
        assert_eq!(json(&["verify", &pack, "--json"])["records"], built["rows"]);
        ok(&["verify", &pack, "--sample", "10"]);

        let rows = json(&["rows", &pack, "--tokens", "5,6,7", "--json"]);
        let row = rows["rows"][2].as_array().unwrap().last().unwrap()[0].to_string();
        let get = |pack: &str, form: &str| {
            ok(&["get", pack, "--layer", layer, "--row", &row, "--as", form])
        };
        assert_eq!(get(&pack, "hex"), get(&attached, "hex"));
        let values: Vec<f32> = get(&pack, "values")
            .split_whitespace()
            .map(|value| value.parse().unwrap())
            .collect();
        assert!(
            values.len() >= 64 && values.iter().all(|value| value.is_finite()),
            "{values:?}"
        );
    }
}

#[test]
fn verify_names_damage_and_exits_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = synth(folder.path(), "deepseek-v4.1-flash", "1000000");
    let pack = folder.path().join("pack").to_str().unwrap().to_owned();
    ok(&["build", &checkpoint, "-o", &pack]);
    let shard = folder.path().join("pack/layer-14/order-4-head-7.shard");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[4096 + 272 + 100] ^= 1;
    fs::write(shard, bytes).unwrap();
    let output = engram_pack(&["verify", &pack]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("damaged: layer-14/order-4-head-7.shard, row ")
            && text.contains("offset 4368"),
        "{text}"
    );
    let output = engram_pack(&["verify", &pack, "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let envelope: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(envelope["exit_code"], 3);
    assert_eq!(envelope["report"]["damage"][0]["offset"], 4368);
    assert!(fails(1, &["verify", "no/such/pack"]).contains("no/such/pack holds no manifest.json"));
    assert!(fails(1, &["verify", &pack, "--sample", "0"]).contains("--sample is 0"));
}

#[test]
fn a_build_killed_again_and_again_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = synth(folder.path(), "deepseek-v4.1-flash", "20000");
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    ok(&["build", &checkpoint, "-o", whole.to_str().unwrap()]);

    let mut kills = 0;
    for wait_ms in (1_u64..).map(|round| 5 * round) {
        let mut child = Command::new(PROGRAM)
            .args([
                "build",
                &checkpoint,
                "--resume",
                "-o",
                killed.to_str().unwrap(),
            ])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(wait_ms));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        let opened = engram_pack(&["rows", killed.to_str().unwrap(), "--tokens", "1"]);
        // Killed after its last write, a build is whole; before that it must not open.
        let finished = killed.join("manifest.json").exists();
        assert_eq!(opened.status.success(), finished);
        if finished && !killed.join("build.unfinished").exists() {
            break;
        }
    }
    assert!(kills > 0, "the build was never killed");
    println!("killed {kills} times");
    assert_eq!(digests(&whole), digests(&killed));
}

/// Runs in a mount namespace of its own, where a drive of any size can be had.
#[test]
fn a_drive_without_room_stops_a_build_before_its_work() {
    const SCRIPT: &str = r#"
        mount -t tmpfs -o size=300k tmpfs "$DRIVE" || exit 77
        "$PROGRAM" build "$CHECKPOINT" -o "$DRIVE/pack" && exit 1
        "$PROGRAM" rows "$DRIVE/pack" --tokens 1 && exit 2
        mount -o remount,size=64m "$DRIVE" || exit 77
        "$PROGRAM" build "$CHECKPOINT" -o "$DRIVE/pack" --resume --json || exit 3
        "$PROGRAM" verify "$DRIVE/pack" || exit 4
    "#;
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = synth(folder.path(), "deepseek-v4.1-flash", "1000000");
    let drive = folder.path().join("drive");
    fs::create_dir(&drive).unwrap();
    let run = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", SCRIPT])
        .env("PROGRAM", PROGRAM)
        .env("CHECKPOINT", checkpoint)
        .env("DRIVE", &drive)
        .output();
    let Ok(run) = run else {
        println!("skipped: there is no `unshare` here");
        return;
    };
    let (out, err) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    if run.status.code() == Some(77) || err.contains("unshare:") {
        println!("skipped: no mount namespace can be had here: {err}");
        return;
    }
    assert!(run.status.success(), "{:?}: {out}{err}", run.status);
    assert!(
        err.contains("is unfinished; run it again with --resume"),
        "{err}"
    );
    assert!(
        err.contains("bytes for shards that are missing on its drive"),
        "{err}"
    );
    let resumed: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(resumed["report"]["shards_resumed"], 0, "{resumed}");
}

#[test]
fn synth_refuses_a_folder_in_use_and_impossible_scales() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = synth(folder.path(), "longcat-flash-lite", "1000000");
    let again = [
        "synth",
        "--scheme",
        "longcat-flash-lite",
        "--scale",
        "9",
        "--output",
        &checkpoint,
    ];
    assert!(fails(1, &again).contains("is not empty"));
    let none = [
        "synth",
        "--scheme",
        "longcat-flash-lite",
        "--scale",
        "0",
        "--output",
        "unused",
    ];
    assert!(fails(1, &none).contains("--scale is 0"));
}

#[test]
fn a_real_tokenizer_gives_the_rows_of_the_builtin_map() {
    let Ok(tokenizer) = std::env::var("ENGRAM_TOKENIZER_JSON") else {
        println!("skipped: ENGRAM_TOKENIZER_JSON is not set");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let [checkpoint, pack] =
        ["checkpoint", "pack"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let scheme = [
        "synth",
        "--scheme",
        "deepseek-v4.1-flash",
        "--scale",
        "1000000",
        "--tokenizer",
        &tokenizer,
    ];
    ok(&[&scheme[..], &["--output", &checkpoint]].concat());
    ok(&["build", &checkpoint, "-o", &pack]);
    let map = fs::read(folder.path().join("pack/token_map.u32le")).unwrap();
    let builtin = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../engine/checkpoint/data/token_map_v41.u32le"
    );
    assert!(map == fs::read(builtin).unwrap());
}

#[test]
fn synth_keeps_a_plain_token_map_under_its_own_name() {
    let folder = tempfile::tempdir().unwrap();
    let map = folder.path().join("my_map.u32le");
    let builtin = builtin_token_map(SchemeName::DeepSeekV41Flash).unwrap();
    fs::write(&map, builtin.to_bytes()).unwrap();
    let [checkpoint, pack] = ["checkpoint", "pack"].map(|name| folder.path().join(name));
    let [checkpoint, pack, map] = [&checkpoint, &pack, &map].map(|path| path.to_str().unwrap());
    let scheme = "deepseek-v4.1-flash";
    ok(&[
        "synth",
        "--scheme",
        scheme,
        "--scale",
        "500000",
        "--output",
        checkpoint,
        "--tokenizer",
        map,
    ]);
    ok(&["build", checkpoint, "-o", pack]);
    assert_eq!(
        fs::read(Path::new(pack).join("token_map.u32le")).unwrap(),
        fs::read(map).unwrap()
    );
}

#[test]
fn row_ids_need_no_shards() {
    let folder = tempfile::tempdir().unwrap();
    let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../format-spec/vectors/deepseek");
    for name in ["manifest.json", "token_map.u32le"] {
        fs::copy(pack.join(name), folder.path().join(name)).unwrap();
    }
    let rows = |pack: &Path| json(&["rows", pack.to_str().unwrap(), "--tokens", "5,6", "--json"]);
    assert_eq!(rows(folder.path()), rows(&pack));
}

#[test]
fn a_reader_that_leaves_early_is_no_error_to_tell() {
    let mut command = Command::new(PROGRAM);
    let scheme = ["rows", "--scheme", "deepseek-v4.1-flash", "--tokens", "0,3"];
    let mut running = command
        .args(scheme)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(running.stdout.take());
    let ended = running.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.is_empty(), "{ended:?}");
}

fn write_trace(path: &Path, tokens: impl IntoIterator<Item = u32>) -> String {
    let bytes: Vec<u8> = tokens.into_iter().flat_map(u32::to_le_bytes).collect();
    fs::write(path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_profile_is_counted_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let first = write_trace(
        &folder.path().join("a.u32le"),
        (0..5_000).map(|at| at * at % 97),
    );
    let second = write_trace(&folder.path().join("b.u32le"), [7, 8, 9]);
    let count = |order: &[&str], out: &str| {
        let scheme = ["profile", "--scheme", "deepseek-v4.1-flash", "--json"];
        let rest = ["--top", "50", "-o", out];
        json(&[&scheme[..], order, &rest].concat())
    };
    let out = path("text.profile");
    let report = count(&["--trace", &first, "--trace", &second], &out);
    assert_eq!(report["tokens"], 5_003);
    assert_eq!(report["rules"]["hashed_vocab_size"], 99_092);
    for (order, of) in (2..).zip(report["orders"].as_array().unwrap()) {
        assert_eq!((&of["order"], &of["kept"]), (&order.into(), &50.into()));
        assert!(of["distinct"].as_u64() > Some(50));
    }
    assert_eq!(json(&["inspect", &out, "--json"]), report);
    let shown = ok(&["inspect", &out]);
    assert!(shown.contains("profile     of 5003 tokens"), "{shown}");
    assert!(shown.contains("order 4     50 of "), "{shown}");
    // The order of the texts makes no difference.
    let other = path("other.profile");
    count(&["--trace", &second, "--trace", &first], &other);
    assert!(fs::read(&out).unwrap() == fs::read(&other).unwrap());
}

#[test]
fn a_text_is_counted_by_its_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("text.profile");
    let out = out.to_str().unwrap();
    let text = folder.path().join("text.txt");
    fs::write(&text, "The sea, the sea, and the sea again.").unwrap();
    let tokenizer = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../reference/model/tests/golden/engram_v41/tokenizer.json"
    );
    let scheme = ["profile", "--scheme", "longcat-flash-lite", "-o", out];
    let text = ["--text", text.to_str().unwrap()];
    let with = [&scheme[..], &text, &["--tokenizer", tokenizer, "--json"]].concat();
    let report = json(&with);
    assert!(report["tokens"].as_u64() > Some(8), "{report}");
    assert_eq!(report["rules"]["token_map"], Value::Null);
    let without = fails(2, &[&scheme[..], &text].concat());
    assert!(without.contains("--tokenizer"), "{without}");
}

#[test]
fn a_profile_that_cannot_be_counted_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("text.profile");
    let out = out.to_str().unwrap();
    let trace =
        |name: &str, tokens: &[u32]| write_trace(&folder.path().join(name), tokens.iter().copied());
    let (good, beyond) = (trace("good", &[1]), trace("beyond", &[1, 129_280]));
    let empty = trace("empty", &[]);
    let profile = |code: i32, rest: &[&str]| {
        let scheme = ["profile", "-o", out, "--scheme", "deepseek-v4.1-flash"];
        fails(code, &[&scheme[..], rest].concat())
    };
    let said = profile(1, &["--trace", &good, "--trace", &beyond]);
    assert!(
        said.contains("beyond: token 129280 at position 1"),
        "{said}"
    );
    assert!(profile(1, &["--trace", &empty]).contains("has 0 bytes"));
    let said = profile(1, &["--trace", &good, "--top", "16777217"]);
    assert!(said.contains("expected up to 16777216"), "{said}");
    profile(2, &["--trace", &good, "--top", "0"]);
    profile(2, &[]);
    let names = fs::read_dir(folder.path()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
}
