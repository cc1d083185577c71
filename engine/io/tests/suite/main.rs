//! One list of promises for all readers and one for all engines, kept by every implementation and under every fault.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod engines;
mod faults;
mod readers;
mod through_io;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use engram_io::{
    DirectFile, FaultEngine, FaultPlan, FaultReader, IoError, MemoryReader, MmapReader,
    PreadReader, ReadAt, ReadEngine, ThreadsEngine, UringEngine,
};

/// Bytes of a file: some whole blocks, and one that is not.
const SIZE: usize = 100_000;
/// Bytes that all alignments divide.
const BLOCK: u32 = 4_096;
/// Bytes of the longest read of an engine.
const SLOT_BYTES: usize = 4 * BLOCK as usize;
const DEPTH: u16 = 8;

/// The bytes of every file: no two places have the same.
fn truth() -> Vec<u8> {
    let words = (1..).map(|n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let bytes = words.flat_map(|word| (word ^ word >> 32).to_le_bytes());
    bytes.take(SIZE).collect()
}

/// Says something although the test passes.
fn say(what: &str) {
    // The macros' output is shown for tests that fail only.
    let mut all = what.as_bytes().to_vec();
    all.push(b'\n');
    std::io::stderr().write_all(&all).unwrap();
}

/// An implementation of [`ReadAt`].
#[derive(Clone, Copy)]
struct Reader {
    name: &'static str,
    open: fn(&Path) -> Result<Box<dyn ReadAt>, IoError>,
    makes_calls: bool,
}

const READERS: [Reader; 5] = [
    Reader {
        name: "mmap",
        open: |path| Ok(Box::new(MmapReader::open(path)?)),
        makes_calls: false,
    },
    Reader {
        name: "pread",
        open: |path| Ok(Box::new(PreadReader::open(path)?)),
        makes_calls: true,
    },
    Reader {
        name: "sequential",
        open: |path| Ok(Box::new(PreadReader::open_sequential(path)?)),
        makes_calls: true,
    },
    Reader {
        name: "memory",
        open: |path| Ok(Box::new(MemoryReader::open(path)?)),
        makes_calls: false,
    },
    Reader {
        name: "memory, from mmap",
        open: |path| {
            let mapped = MmapReader::open(path)?;
            Ok(Box::new(MemoryReader::load(path, &mapped)?))
        },
        makes_calls: false,
    },
];

impl Reader {
    fn with_faults(&self, path: &Path, plan: &FaultPlan) -> Box<dyn ReadAt> {
        let inner = (self.open)(path).unwrap();
        Box::new(FaultReader::new(inner, path, plan.clone()))
    }
}

type Files = Arc<[DirectFile]>;

/// An implementation of [`ReadEngine`].
#[derive(Clone, Copy)]
struct Engine {
    name: &'static str,
    make: fn(Files) -> Result<Box<dyn ReadEngine>, IoError>,
    is_uring: bool,
}

const ENGINES: [Engine; 3] = [
    Engine {
        name: "io_uring",
        make: |files| Ok(Box::new(UringEngine::new(files, DEPTH, SLOT_BYTES)?)),
        is_uring: true,
    },
    Engine {
        name: "io_uring, unregistered",
        make: |files| {
            Ok(Box::new(UringEngine::unregistered(
                files, DEPTH, SLOT_BYTES,
            )?))
        },
        is_uring: true,
    },
    Engine {
        name: "threads",
        make: |files| Ok(Box::new(ThreadsEngine::new(files, SLOT_BYTES)?)),
        is_uring: false,
    },
];

impl Engine {
    /// The engine, unless the system refuses it.
    fn make(&self, files: &Files) -> Option<Box<dyn ReadEngine>> {
        let made = (self.make)(files.clone());
        if let Err(error) = &made {
            assert!(self.is_uring, "{error}");
            say(&format!("skipped {}: {error}", self.name));
        }
        made.ok()
    }

    fn with_faults(&self, files: &Files, plan: &FaultPlan) -> Option<Box<dyn ReadEngine>> {
        let inner = self.make(files)?;
        Some(Box::new(FaultEngine::new(
            inner,
            files.clone(),
            plan.clone(),
        )))
    }
}

/// A folder with two files of the same bytes.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for path in folder.paths() {
            fs::write(path, truth()).unwrap();
        }
        folder
    }

    fn paths(&self) -> [PathBuf; 2] {
        ["one", "two"].map(|name| self.0.path().join(name))
    }

    fn files(&self) -> Files {
        self.paths()
            .map(|path| DirectFile::open(&path).unwrap())
            .into()
    }
}
