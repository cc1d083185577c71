//! A batch for which the drive has no room is an error, and is not there; what was written before is.

#![cfg(feature = "rocksdb")]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "numbers of tests are small"
)]

use std::{fs, process::Command};

use engram::RowId;
use engram_overlay::{Durability, Edits, Key, Overlay, OverlayError};
use engram_tests::Fixture;

mod common;
use common::{Map, change, map_of, rows_for};

/// Set in a process that may write no file larger than this.
const PACK: &str = "ENGRAM_TEST_FULL_DISK";
/// Bytes of the largest file.
const FILE_BYTES: u64 = 256 << 10;

fn write_until_full(pack: &std::path::Path) {
    let limit = libc::rlimit {
        rlim_cur: FILE_BYTES,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the limit is read, and the signal's default, which would end the process, is replaced by nothing.
    unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
    let path = pack.with_file_name("overlay");
    let mut map = Map::new();
    let overlay = Overlay::open(pack, &path, Durability::Drive).unwrap();
    let layer = overlay.shape().layers().next().unwrap();
    let refused = loop {
        let number = overlay.snapshot().version() + 1;
        let mut edits = Edits::new();
        let mut after = map.clone();
        for row in 0..100 {
            let key = Key::Row(RowId(row));
            let rows = rows_for(overlay.shape(), layer, &key, number as u8);
            change(&mut edits, &mut after, layer, key, Some(rows));
        }
        match overlay.write(&edits) {
            Ok(_) => map = after,
            Err(refused) => break refused,
        }
        assert!(number < 1_000, "no limit is reached");
    };
    assert!(matches!(refused, OverlayError::Full { .. }), "{refused:?}");
    let version = overlay.snapshot().version();
    assert!(version > 2, "some batches had room");
    assert_eq!(map_of(&overlay.snapshot()), map);
    let refused = overlay.write(&Edits::new()).unwrap_err();
    assert!(
        matches!(refused, OverlayError::Broken { .. }),
        "{refused:?}"
    );
    drop(overlay);
    // SAFETY: as above.
    unsafe {
        let limit = libc::rlimit {
            rlim_cur: libc::RLIM_INFINITY,
            rlim_max: libc::RLIM_INFINITY,
        };
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
    }
    let overlay = Overlay::open(pack, &path, Durability::Drive).unwrap();
    assert_eq!(overlay.snapshot().version(), version);
    assert_eq!(map_of(&overlay.snapshot()), map);
    let mut edits = Edits::new();
    edits.remove(layer, Key::Row(RowId(0)));
    assert_eq!(overlay.write(&edits).unwrap(), version + 1);
    fs::write(pack.with_file_name("passed"), b"").unwrap();
}

#[test]
fn a_batch_without_room_is_not_there_and_those_before_are() {
    if let Some(pack) = std::env::var_os(PACK) {
        return write_until_full(std::path::Path::new(&pack));
    }
    // In a process of its own, since the limit holds for all of its files.
    let fixture = Fixture::new("deepseek");
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "a_batch_without_room_is_not_there_and_those_before_are",
    ]);
    let output = child.env(PACK, fixture.pack()).output().unwrap();
    let passed = fixture.folder().join("passed").exists();
    assert!(passed, "{}", String::from_utf8_lossy(&output.stdout));
}
