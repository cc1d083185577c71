//! The door: what `Io` gives is what was asked for, with faults and without.

use std::sync::Arc;

use engram_io::{
    Access, EngineKind, EngineRequest, Fault, FaultIo, FaultPlan, FaultRule, Io, SystemIo,
};

use crate::{DEPTH, Folder, SLOT_BYTES, say, truth};

#[test]
fn each_access_reads_the_file() {
    let (folder, truth) = (Folder::new(), truth());
    let io: [Arc<dyn Io>; 2] = [
        Arc::new(SystemIo),
        Arc::new(FaultIo::new(Arc::new(SystemIo), FaultPlan::new(1, []))),
    ];
    for io in io {
        for access in [
            Access::Mmap,
            Access::Pread,
            Access::Sequential,
            Access::Memory,
        ] {
            let reader = io.open(&folder.paths()[0], access).unwrap();
            let mut out = vec![0; truth.len()];
            reader.read_at(0, &mut out).unwrap();
            assert_eq!(out, truth, "{io:?}, {access:?}");
        }
    }
}

#[test]
fn a_faulty_reader_gives_no_memory_past_its_faults() {
    let folder = Folder::new();
    let flips = FaultPlan::new(1, [FaultRule::every(1, Fault::BitFlip)]);
    let io = FaultIo::new(Arc::new(SystemIo), flips);
    let path = &folder.paths()[0];
    assert!(io.open(path, Access::Mmap).unwrap().memory().is_none());
    let loaded = io.open(path, Access::Memory).unwrap();
    let mut out = truth();
    loaded.read_at(0, &mut out).unwrap();
    assert_ne!(out, truth(), "loaded with the fault");
}

#[test]
fn each_request_makes_its_engine() {
    let folder = Folder::new();
    let files = folder.files();
    let threads = SystemIo
        .engine(EngineRequest::Threads, &files, SLOT_BYTES)
        .unwrap();
    assert_eq!(threads.kind(), EngineKind::Threads);
    assert_eq!(
        (threads.kind().to_string().as_str(), threads.depth()),
        ("pread", 1)
    );
    match SystemIo.engine(EngineRequest::Uring { depth: DEPTH }, &files, SLOT_BYTES) {
        Ok(uring) => {
            assert!(uring.kind().to_string().starts_with("io_uring"));
            assert_eq!(uring.depth(), DEPTH.into());
        }
        Err(error) => say(&format!("skipped io_uring: {error}")),
    }
}
