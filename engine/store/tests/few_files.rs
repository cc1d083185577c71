//! A process that may open fewer files than its pack has is told both numbers. In a binary of its own, with one test:
//! the limit is one of the process.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{all_rows, copy_pack};
use engram::{Config, OpenError, Reader, Store};
use rustix::process::{Resource, getrlimit, setrlimit};

#[test]
fn too_few_open_files_are_told_beside_those_of_the_pack() {
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("pack");
    copy_pack(&pack);
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(10);
    setrlimit(Resource::Nofile, limit).unwrap();
    for reader in [Reader::Direct, Reader::Pread] {
        let refused = Store::open(&pack, Config::new().reader(reader)).unwrap_err();
        assert!(
            matches!(refused, OpenError::TooManyFiles { needed: 8, .. }),
            "{refused}"
        );
        let said = refused.to_string();
        for part in ["may have 10 files open", "its rows lie in 8 files"] {
            assert!(said.contains(part), "{said}");
        }
    }
    // Mapped files are closed at once.
    let store = Store::open(&pack, Config::new().reader(Reader::Mmap)).unwrap();
    all_rows(&store).unwrap();
}
