//! Reading threads whose engine is refused leave the work to those that have one.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use common::{all_rows, copy_pack};
use engram::{Backend, Config, IoError, OpenError, Reader, Store};
use engram_io::{Access, DirectFile, EngineRequest, Io, ReadAt, ReadEngine, SystemIo};

/// Grants some engines, and refuses those that are asked for later.
#[derive(Debug)]
struct FewEngines(AtomicUsize);

impl Io for FewEngines {
    fn open(&self, path: &Path, access: Access) -> Result<Box<dyn ReadAt>, IoError> {
        SystemIo.open(path, access)
    }

    fn open_direct(&self, path: &Path) -> Result<DirectFile, IoError> {
        SystemIo.open_direct(path)
    }

    fn engine(
        &self,
        request: EngineRequest,
        files: &Arc<[DirectFile]>,
        slot_bytes: usize,
    ) -> Result<Box<dyn ReadEngine>, IoError> {
        let granted = |left: usize| left.checked_sub(1);
        let left = &self.0;
        match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, granted) {
            Ok(_) => SystemIo.engine(request, files, slot_bytes),
            Err(_) => Err(IoError::NoMemory {
                bytes: slot_bytes,
                purpose: "a read",
                cause: std::io::ErrorKind::OutOfMemory.into(),
            }),
        }
    }
}

#[test]
fn one_engine_of_many_is_enough_and_none_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("pack");
    copy_pack(&pack);
    let expected = all_rows(&Store::open(&pack, Config::new()).unwrap()).unwrap();
    let open = |granted| {
        let io = Arc::new(FewEngines(AtomicUsize::new(granted)));
        let config = Config::new().reader(Reader::DirectThreads).file_access(io);
        Store::open(&pack, config.io(8, 1).cache_bytes(0))
    };
    for granted in [1, 3] {
        let store = open(granted).unwrap();
        assert!(matches!(store.backend(), Backend::Direct { threads, .. } if threads == granted));
        assert!(all_rows(&store).unwrap() == expected);
    }
    let refused = open(0).unwrap_err();
    assert!(
        matches!(refused, OpenError::Io(IoError::NoMemory { .. })),
        "{refused}"
    );
}
