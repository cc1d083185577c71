//! A writer is killed at random moments, a thousand times: what it was told of is there, each batch whole or not at
//! all.

#![cfg(feature = "rocksdb")]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "numbers of tests are small"
)]

use std::{
    env,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use engram::{LayerId, RowId};
use engram_overlay::{Durability, Edits, Key, Overlay};
use engram_tests::Fixture;
use rand::{Rng, SeedableRng, rngs::StdRng};

mod common;
use common::{Map, change, map_of, rows_for};

const KILLS: u32 = 1_000;
/// Batches after which every key has been set or removed again.
const CYCLE: u64 = 300;
/// Set in a writing process: its pack.
const PACK: &str = "ENGRAM_TEST_KILLED_WRITER";

/// What the batch that makes version `number` changes.
fn batch(overlay: &Overlay, layers: &[LayerId], number: u64, map: &mut Map) -> Edits {
    let mut edits = Edits::new();
    let byte = (number % 251) as u8;
    for part in 0..4 {
        let layer = layers[(number + part) as usize % layers.len()];
        let row = Key::Row(RowId((number * 3 + part) % 60));
        let ngram = Key::NGram(vec![(number % 37) as u32, part as u32]);
        for key in [row, ngram] {
            let rows = rows_for(overlay.shape(), layer, &key, byte);
            change(&mut edits, map, layer, key, Some(rows));
        }
        let gone = Key::Row(RowId((number * 7 + part) % 60));
        change(&mut edits, map, layer, gone, None);
    }
    edits
}

/// Opens the overlay, holds it against what the batches up to its version make, and writes until it is killed.
fn write_on(pack: &Path) {
    let folder = pack.parent().unwrap();
    let told = File::options()
        .read(true)
        .write(true)
        .open(folder.join("told"))
        .unwrap();
    let told_of = || {
        let mut bytes = [0; 8];
        told.read_exact_at(&mut bytes, 0).unwrap();
        u64::from_le_bytes(bytes)
    };
    let overlay = Overlay::open(pack, folder.join("overlay"), Durability::System).unwrap();
    let layers: Vec<LayerId> = overlay.shape().layers().collect();
    let snapshot = overlay.snapshot();
    assert!(
        snapshot.version() >= told_of(),
        "a batch that was told of is gone"
    );
    assert!(
        snapshot.version() <= told_of() + 1,
        "a batch that nobody wrote"
    );
    let mut map = Map::new();
    // Every key was changed by one of the last batches.
    for number in snapshot.version().saturating_sub(CYCLE) + 1..=snapshot.version() {
        batch(&overlay, &layers, number, &mut map);
    }
    assert!(
        map_of(&snapshot) == map,
        "half a batch at version {}",
        snapshot.version()
    );
    told.write_all_at(&snapshot.version().to_le_bytes(), 0)
        .unwrap();
    fs::write(folder.join("checked"), b"").unwrap();
    for number in snapshot.version() + 1.. {
        let edits = batch(&overlay, &layers, number, &mut map);
        assert_eq!(overlay.write(&edits).unwrap(), number);
        told.write_all_at(&number.to_le_bytes(), 0).unwrap();
    }
}

#[test]
fn a_thousand_kills_lose_no_batch_and_halve_none() {
    if let Some(pack) = env::var_os(PACK) {
        return write_on(Path::new(&pack));
    }
    let fixture = Fixture::new("deepseek");
    fs::write(fixture.folder().join("told"), [0; 8]).unwrap();
    let mut random = StdRng::seed_from_u64(18);
    let mut checked = 0;
    let checked_file = fixture.folder().join("checked");
    let round = |is_checked: bool, delay: Duration| {
        let mut writer = Command::new(env::current_exe().unwrap());
        writer.args([
            "--exact",
            "a_thousand_kills_lose_no_batch_and_halve_none",
            "--nocapture",
        ]);
        writer
            .env(PACK, fixture.pack())
            .stdout(std::process::Stdio::null());
        let mut writer = writer.spawn().unwrap();
        while is_checked && !checked_file.exists() && writer.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(delay);
        let ended = writer.try_wait().unwrap();
        assert!(ended.is_none(), "a writer ended by itself: {ended:?}");
        writer.kill().unwrap();
        writer.wait().unwrap();
    };
    for _ in 0..KILLS {
        // Most of them while they write, the others while they start, open or check.
        let is_checked = random.random_range(0..4) > 0;
        let most = if is_checked { 10_000 } else { 60_000 };
        round(
            is_checked,
            Duration::from_micros(random.random_range(0..most)),
        );
        checked += u32::from(fs::remove_file(&checked_file).is_ok());
    }
    // One more looks at what the last kill left.
    round(true, Duration::ZERO);
    assert!(checked_file.exists());
    let told = fs::read(fixture.folder().join("told")).unwrap();
    let told = u64::from_le_bytes(told.try_into().unwrap());
    println!("{KILLS} kills, {checked} of them after the check of what was there; {told} batches");
    assert!(told > 0);
}
