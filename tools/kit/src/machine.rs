//! The machine that a command ran on.

use std::{fs, thread};

use rustix::system::uname;
use serde::{Deserialize, Serialize};

/// What tells one machine from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Its name.
    pub host: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Architecture of the processor.
    pub architecture: String,
    /// Model of the processor; null where the system does not say.
    pub cpu: Option<String>,
    /// Cores that this process may use, as control groups and affinity leave them.
    pub cores: usize,
    /// Bytes of memory; null where the system does not say.
    pub memory_bytes: Option<u64>,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let name = uname();
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self {
            host: name.nodename().to_string_lossy().into(),
            kernel: name.release().to_string_lossy().into(),
            architecture: name.machine().to_string_lossy().into(),
            cpu: value_of(&cpus, "model name").map(Into::into),
            cores: thread::available_parallelism().map_or(1, Into::into),
            memory_bytes: value_of(&memory, "MemTotal").and_then(bytes),
        }
    }
}

/// The value of the first line of `table` that is `name: value`.
pub(crate) fn value_of<'a>(table: &'a str, name: &str) -> Option<&'a str> {
    table.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim_end() == name).then_some(value.trim())
    })
}

/// The bytes that `/proc/meminfo` calls so many kB.
pub(crate) fn bytes(value: &str) -> Option<u64> {
    let kibibytes: u64 = value.strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_names() {
        let table = "processor\t: 0\nmodel name\t: EPYC: 9\nMemTotal:  24683656 kB\n";
        assert_eq!(value_of(table, "model name"), Some("EPYC: 9"));
        assert_eq!(value_of(table, "model"), None);
        assert_eq!(
            value_of(table, "MemTotal").and_then(bytes),
            Some(24_683_656 << 10)
        );
        assert_eq!(bytes("12"), None);
    }
}
