//! How files can be read: their file system, direct reads, `io_uring`.

use std::{
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use engram::{Manifest, Storage};
use engram_io::{DirectFile, EngineKind, IoError, ReadEngine, UringEngine};
use engram_kit::drive::Drive;
use serde_json::json;
use tempfile::NamedTempFile;

use super::{Finding, State};

/// Reads in flight that are asked for.
const DEPTH: u16 = 256;
/// Bytes of each.
const SLOT_BYTES: usize = 16 << 10;
const PAGE_BYTES: usize = 4096;

/// Of the folder `folder`, which may have a pack.
pub(super) fn findings(folder: &Path, pack: Option<&Manifest>) -> Result<Vec<Finding>> {
    let metadata = fs::metadata(folder);
    metadata.with_context(|| format!("cannot look at {}", folder.display()))?;
    let rows_in = match pack.map(|manifest| &manifest.storage) {
        Some(Storage::Attached { checkpoint }) => PathBuf::from(checkpoint),
        _ => folder.into(),
    };
    let mut found = vec![file_system(&rows_in)];
    let probe = Probe::find(&rows_in, pack);
    let opened = probe.as_ref().map(|probe| DirectFile::open(probe.path()));
    match opened.transpose()? {
        Some(file) => found.extend([direct(&file), uring(file)]),
        None => found.push(Finding::new(
            "direct reads",
            State::Unknown,
            "no file can be made here to try them with",
            json!({}),
        )),
    }
    Ok(found)
}

fn file_system(folder: &Path) -> Finding {
    let drive = Drive::of(folder);
    let values = json!(drive);
    let system = drive.file_system.as_deref().unwrap_or("of unknown type");
    let mut said = system.to_owned();
    if let Some(device) = &drive.device {
        said = said + " on " + device;
    }
    if let Some(model) = &drive.model {
        said = said + ", " + model;
    }
    // Virtual drives have no model, and often say that they turn.
    let turns = drive.rotational == Some(true) && drive.model.is_some();
    let state = if turns { State::Limited } else { State::Good };
    let advice = turns
        .then(|| "the drive has turning disks, of which each read takes milliseconds".to_owned());
    Finding::new("file system", state, said, values).advice(advice)
}

fn direct(file: &DirectFile) -> Finding {
    let (is_direct, unit) = (file.is_direct(), file.unit());
    let values = json!({ "direct": is_direct, "sector_bytes": is_direct.then_some(unit) });
    let name = "direct reads";
    if is_direct {
        let said = format!("past the page cache, sectors of {unit} bytes");
        return Finding::new(name, State::Good, said, values);
    }
    let said = "refused by this file system: rows come through the page cache";
    Finding::new(name, State::Limited, said, values)
}

fn uring(file: DirectFile) -> Finding {
    let name = "io_uring";
    let waits = file.waits();
    match UringEngine::new(Arc::new([file]), DEPTH, SLOT_BYTES) {
        Err(error) => {
            let refusal = Refusal::find(&error);
            let values = json!({ "allowed": false, "refused_by": refusal.map(Refusal::name) });
            let said = format!("refused, threads do the same: {error}");
            Finding::new(name, State::None, said, values)
                .advice(refusal.map(|refusal| refusal.to_string()))
        }
        Ok(engine) => {
            let EngineKind::Uring {
                registered_buffers,
                deferred,
            } = engine.kind()
            else {
                unreachable!("a ring is one");
            };
            let values = json!({
                "allowed": true,
                "registered_buffers": registered_buffers,
                "deferred_completions": deferred,
                "file_system_waits": waits,
            });
            if waits {
                let said = "allowed, but a process or another machine serves this file system: threads read it";
                return Finding::new(name, State::Limited, said, values);
            }
            let said = engine.kind().to_string();
            let advice = (!registered_buffers)
                .then(|| "more memory may have to be locked: `ulimit -l`".to_owned());
            let state = if registered_buffers {
                State::Good
            } else {
                State::Limited
            };
            Finding::new(name, state, said, values).advice(advice)
        }
    }
}

/// What refuses `io_uring`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// The setting `kernel.io_uring_disabled`.
    Setting(u8),
    /// A filter of system calls, as containers have.
    Seccomp,
    /// The kernel knows none.
    Kernel,
}

impl Refusal {
    fn find(error: &IoError) -> Option<Self> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let kind = error.os_error()?.kind();
        Self::from_system(
            kind,
            &read("/proc/sys/kernel/io_uring_disabled"),
            &read("/proc/self/status"),
        )
    }

    /// The reason for the answer `kind`, by the setting and the state of the process.
    fn from_system(kind: ErrorKind, setting: &str, status: &str) -> Option<Self> {
        let is_filtered = status
            .lines()
            .filter_map(|line| line.strip_prefix("Seccomp:"))
            .any(|mode| mode.trim() == "2");
        match (kind, setting.trim()) {
            (ErrorKind::PermissionDenied, "1") => Some(Self::Setting(1)),
            (ErrorKind::PermissionDenied, "2") => Some(Self::Setting(2)),
            (ErrorKind::PermissionDenied | ErrorKind::Unsupported, _) if is_filtered => {
                Some(Self::Seccomp)
            }
            (ErrorKind::Unsupported, _) => Some(Self::Kernel),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Setting(_) => "sysctl",
            Self::Seccomp => "seccomp",
            Self::Kernel => "kernel",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Setting(value) => write!(
                f,
                "the setting kernel.io_uring_disabled is {value}: `sysctl kernel.io_uring_disabled=0` allows it"
            ),
            Self::Seccomp => f.write_str(
                "a seccomp filter refuses it, as Docker's own does; a profile that allows io_uring_setup, \
                 io_uring_enter and io_uring_register lets it through",
            ),
            Self::Kernel => f.write_str("the kernel has no io_uring"),
        }
    }
}

/// A file whose reads are tried.
enum Probe {
    Known(PathBuf),
    Made(NamedTempFile),
}

impl Probe {
    /// One of the pack, or one that is made in `folder`.
    fn find(folder: &Path, pack: Option<&Manifest>) -> Option<Self> {
        if let Some(path) = pack.and_then(|manifest| file_of_rows(folder, manifest)) {
            return Some(Self::Known(path));
        }
        let mut made = NamedTempFile::new_in(folder).ok()?;
        made.write_all(&[0; PAGE_BYTES]).ok()?;
        Some(Self::Made(made))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Known(path) => path,
            Self::Made(file) => file.path(),
        }
    }
}

/// The first file with rows.
fn file_of_rows(folder: &Path, manifest: &Manifest) -> Option<PathBuf> {
    let name = match manifest.storage {
        Storage::Attached { .. } => manifest.sources.first()?.name.clone(),
        Storage::Packed | Storage::Cold { .. } => {
            let column = manifest.scheme.columns(0).next()?;
            manifest.shard_path(manifest.tables.first()?.layer, &column)
        }
    };
    Some(folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_refuses_a_ring_is_named() {
        let find = |kind, setting, seccomp| {
            let status = format!("Name:\tengram-pack\nSeccomp:\t{seccomp}\nSeccomp_filters:\t1\n");
            Refusal::from_system(kind, setting, &status)
        };
        let denied = ErrorKind::PermissionDenied;
        assert_eq!(find(denied, "2\n", 0), Some(Refusal::Setting(2)));
        assert_eq!(find(denied, "1\n", 2), Some(Refusal::Setting(1)));
        assert_eq!(find(denied, "0\n", 2), Some(Refusal::Seccomp));
        assert_eq!(find(denied, "", 0), None);
        assert_eq!(find(ErrorKind::Unsupported, "0", 2), Some(Refusal::Seccomp));
        assert_eq!(find(ErrorKind::Unsupported, "", 0), Some(Refusal::Kernel));
        assert_eq!(find(ErrorKind::OutOfMemory, "2", 2), None);
    }
}
