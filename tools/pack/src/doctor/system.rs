//! Kernel, processor, files and GPU.

use std::fs;

use engram::Manifest;
use engram_cuda::{Device, DeviceError};
use engram_kit::{limits::inherited_open_files, machine::Machine};
use serde_json::json;

use super::{Finding, State};

/// Files that a process has open beside those of a pack.
const OTHER_FILES: u64 = 32;

pub(super) fn kernel() -> Finding {
    let machine = Machine::here();
    let said = format!("Linux {} on {}", machine.kernel, machine.architecture);
    Finding::new(
        "kernel",
        State::Good,
        said,
        json!({ "release": machine.kernel }),
    )
}

pub(super) fn processor() -> Finding {
    let machine = Machine::here();
    let table = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let all = table
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let all = all.max(machine.cores);
    let model = machine.cpu.clone().unwrap_or("of unknown model".into());
    let values = json!({ "model": machine.cpu, "cores": machine.cores, "cores_of_machine": all });
    let said = match machine.cores {
        cores if cores < all => format!("{model}, {cores} of {all} cores for this process"),
        cores => format!("{model}, {cores} cores"),
    };
    let state = if machine.cores < all {
        State::Limited
    } else {
        State::Good
    };
    Finding::new("processor", state, said, values)
}

pub(super) fn open_files(pack: Option<&Manifest>) -> Finding {
    let needed = pack.map(|manifest| {
        let shards: usize = manifest.tables.iter().map(|table| table.shards.len()).sum();
        // An attached pack reads the checkpoint's files.
        let files = if shards == 0 {
            manifest.sources.len()
        } else {
            shards
        };
        files as u64 + OTHER_FILES
    });
    let name = "open files";
    let Some(limit) = inherited_open_files() else {
        let values = json!({ "needed": needed });
        return Finding::new(name, State::Unknown, "the limit is not known", values);
    };
    let values = json!({ "soft": limit.soft, "hard": limit.hard, "needed": needed });
    let number = |limit: Option<u64>| limit.map_or("any number".into(), |limit| limit.to_string());
    let said = format!(
        "{} at a time, up to {} on request{}",
        number(limit.soft),
        number(limit.hard),
        needed.map_or(String::new(), |needed| format!(
            "; this pack takes about {needed}"
        ))
    );
    let is_enough = needed.is_none_or(|needed| limit.soft.is_none_or(|soft| soft >= needed));
    if is_enough {
        return Finding::new(name, State::Good, said, values);
    }
    let advice =
        "this command raises it; other programs need `ulimit -n` or LimitNOFILE=".to_owned();
    Finding::new(name, State::Limited, said, values).advice(advice)
}

pub(super) fn cuda() -> Finding {
    let finding = |state, said: String, device: Option<String>| {
        Finding::new("CUDA", state, said, json!({ "device": device }))
    };
    match Device::cuda(0) {
        Ok(device) => finding(State::Good, device.name(), Some(device.name())),
        Err(error @ (DeviceError::NoDriver { .. } | DeviceError::NoDevice { .. })) => {
            finding(State::None, error.to_string(), None)
        }
        Err(error) => finding(State::Limited, error.to_string(), None),
    }
}
