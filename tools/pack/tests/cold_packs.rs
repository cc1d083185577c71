//! `freeze` and `thaw` as users run them, and the other commands on a cold pack.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::{fs, path::Path};

use common::{Folder, fails, ok, run, text};
use serde_json::Value;

fn json(args: &[&str]) -> Value {
    let mut envelope: Value = serde_json::from_str(&ok(args)).unwrap();
    envelope["report"].take()
}

/// Every byte of the files below `folder`, by name.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            found.push((
                path.file_name().unwrap().display().to_string(),
                fs::read(&path).unwrap(),
            ));
        }
    }
    found.sort();
    found
}

/// A pack and the cold pack of it.
fn packs(folder: &Folder) -> [String; 2] {
    let checkpoint = folder.synth("deepseek-v4.1-flash", "checkpoint");
    let [pack, cold] = ["pack", "cold"].map(|name| folder.at(name));
    ok(&["build", &checkpoint, "-o", &pack]);
    let said = ok(&["freeze", &pack, "-o", &cold]);
    assert_eq!(said.matches("% of its rows").count(), 48, "{said}");
    [pack, cold]
}

#[test]
fn a_pack_is_frozen_looked_at_and_thawed() {
    let folder = Folder::new();
    let [pack, cold] = &packs(&folder);
    let again = &folder.at("again");
    let report = json(&["thaw", cold, "-o", again, "--json"]);
    assert_eq!(
        (&report["shards"], &report["shards_resumed"]),
        (&48.into(), &0.into())
    );
    assert!(content(Path::new(again)) == content(Path::new(pack)));
    let report = json(&["thaw", cold, "-o", again, "--resume", "--json"]);
    assert_eq!(report["shards_resumed"], 48);

    let report = json(&["freeze", pack, "-o", cold, "--resume", "--json"]);
    assert_eq!(report["columns_resumed"], 48);
    let columns = report["columns"].as_array().unwrap();
    let bytes: u64 = columns
        .iter()
        .map(|column| column["cold_bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(report["cold_bytes"], bytes);
    let said = ok(&["inspect", cold]);
    assert!(
        said.contains("storage     cold:") && said.contains("240 to a frame"),
        "{said}"
    );
    let inspected = json(&["inspect", cold, "--json"]);
    assert_eq!(inspected["bytes"], bytes);

    let row = ["--layer", "1", "--row", "7", "--as", "hex"];
    let of = |pack: &str| ok(&[&["get", pack][..], &row].concat());
    assert_eq!(of(cold), of(pack));
    let stats = |pack: &str| {
        let mut stats = json(&["stats", pack, "--json"]);
        stats["seconds"].take();
        stats
    };
    assert_eq!(stats(cold), stats(pack));
}

#[test]
fn a_damaged_frame_is_named_and_the_exit_code_is_3() {
    let folder = Folder::new();
    let [_, cold] = &packs(&folder);
    assert!(ok(&["verify", cold]).contains("0 places damaged"));
    let name = "layer-01/order-3-head-2.cold";
    let shard = Path::new(cold).join(name);
    let mut bytes = fs::read(&shard).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&shard, &bytes).unwrap();
    let verified = run(&["verify", cold]);
    let said = text(&verified.stdout);
    assert_eq!(verified.status.code(), Some(3), "{said}");
    assert!(said.contains(&format!("damaged: {name}, rows ")), "{said}");
    assert!(said.contains("frame 0 has checksum"), "{said}");
    let refused = fails(&["thaw", cold, "-o", &folder.at("again")]);
    assert!(
        refused.contains(name) && refused.contains("--resume"),
        "{refused}"
    );
    // With a sound file it goes on.
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&shard, &bytes).unwrap();
    ok(&["thaw", cold, "-o", &folder.at("again"), "--resume"]);

    fs::remove_file(&shard).unwrap();
    let verified = run(&["verify", cold]);
    assert_eq!(verified.status.code(), Some(3));
    assert!(text(&verified.stdout).contains(name));
}
