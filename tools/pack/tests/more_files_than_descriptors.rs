//! Checkpoints and packs of more files than a process may have open.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::{collections::BTreeMap, fs, path::Path};

use common::{Folder, ok, run_after, text};
use serde_json::{Value, json};

/// Gives every tensor of a checkpoint a file of its own, as some converters do. Returns how many files these are.
fn split(checkpoint: &Path) -> usize {
    let mut weight_map = BTreeMap::new();
    let files: Vec<_> = fs::read_dir(checkpoint)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    for path in files
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
    {
        let bytes = fs::read(path).unwrap();
        let (length, rest) = bytes.split_first_chunk().unwrap();
        let (header, data) = rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
        let header: BTreeMap<String, Value> = serde_json::from_slice(header).unwrap();
        for (name, mut info) in header {
            let [start, end]: [usize; 2] =
                serde_json::from_value(info["data_offsets"].clone()).unwrap();
            info["data_offsets"] = json!([0, end - start]);
            let header = json!({ &name: info }).to_string();
            let length = (header.len() as u64).to_le_bytes();
            let file = format!("part-{:05}.safetensors", weight_map.len());
            let bytes = [&length[..], header.as_bytes(), &data[start..end]].concat();
            fs::write(checkpoint.join(&file), bytes).unwrap();
            weight_map.insert(name, file);
        }
        fs::remove_file(path).unwrap();
    }
    let index = json!({ "weight_map": weight_map }).to_string();
    fs::write(checkpoint.join("model.safetensors.index.json"), index).unwrap();
    weight_map.len()
}

#[test]
fn a_checkpoint_of_many_files_is_packed_by_many_jobs() {
    let folder = Folder::new();
    let checkpoint = folder.synth("qwen3.8-flash-next", "checkpoint");
    let whole = folder.at("whole");
    ok(&["build", &checkpoint, "-o", &whole]);
    assert!(split(Path::new(&checkpoint)) > 130);
    let (packed, attached) = (folder.at("packed"), folder.at("attached"));
    for job in [
        &["build", &checkpoint, "-o", &packed, "--jobs", "8"][..],
        &["attach", &checkpoint, "-o", &attached],
        &["verify", &packed],
    ] {
        let output = run_after("ulimit -n 64", job);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    for shard in fs::read_dir(folder.join("whole/layer-01")).unwrap() {
        let shard = shard.unwrap();
        let other = folder.join("packed/layer-01").join(shard.file_name());
        assert!(fs::read(shard.path()).unwrap() == fs::read(other).unwrap());
    }

    let too_many = "its rows lie in 127 files, which are all open while the pack is; \
                    this process may have 64 files open";
    let output = run_after(
        "ulimit -n 64",
        &["get", &attached, "--layer", "1", "--row", "3"],
    );
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains(too_many), "{said}");
    let output = run_after("ulimit -n 64", &["verify", &attached]);
    assert_eq!(output.status.code(), Some(1), "it is not damaged");
    let said = text(&output.stdout);
    assert!(
        said.contains("cannot be read: ") && said.contains(too_many),
        "{said}"
    );
    // What the hard limit allows, a command takes.
    let output = run_after("ulimit -S -n 64", &["verify", &attached]);
    assert!(output.status.success(), "{}", text(&output.stdout));
}
