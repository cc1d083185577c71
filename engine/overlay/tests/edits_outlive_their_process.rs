//! What was written is there when the overlay is opened again, for one writer and any readers; what is no overlay of
//! the pack, or is damaged, is refused by name.

#![cfg(feature = "rocksdb")]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "numbers of tests are small"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use engram::{LayerId, RowId, read_manifest};
use engram_overlay::{Durability, EditError, Edits, Key, Overlay, OverlayError, OverlayReader};
use engram_tests::{Fixture, make_checkpoint, make_cold, make_pack, make_striped, small_family};

mod common;
use common::{Map, change, map_of, rows_for};

fn open(fixture: &Fixture, path: &Path) -> Result<Overlay, OverlayError> {
    Overlay::open(fixture.pack(), path, Durability::Drive)
}

/// Writes some entries of every kind as the next version.
fn write(overlay: &Overlay, map: &mut Map, seed: u8) -> u64 {
    let mut edits = Edits::new();
    let layers: Vec<LayerId> = overlay.shape().layers().collect();
    for layer in layers {
        let id = u32::from(seed) % 40;
        let keys = [
            Key::Row(RowId(u64::from(seed) % 50)),
            Key::NGram(vec![id, 3]),
            Key::NGram(vec![id, 3, 4]),
        ];
        for key in keys {
            let rows = rows_for(overlay.shape(), layer, &key, seed);
            change(&mut edits, map, layer, key, Some(rows));
        }
        let gone = Key::Row(RowId(u64::from(seed / 2) % 50));
        change(&mut edits, map, layer, gone, None);
    }
    overlay.write(&edits).unwrap()
}

#[test]
fn entries_and_their_version_are_there_after_a_reopening() {
    let fixture = Fixture::new("deepseek");
    let path = fixture.folder().join("overlay");
    let mut map = Map::new();
    for round in 0..5_u8 {
        let overlay = open(&fixture, &path).unwrap();
        assert_eq!(overlay.snapshot().version(), u64::from(round) * 10);
        assert_eq!(map_of(&overlay.snapshot()), map);
        for batch in 0..10 {
            let version = write(&overlay, &mut map, round * 10 + batch);
            assert_eq!(version, u64::from(round) * 10 + u64::from(batch) + 1);
        }
        assert_eq!(map_of(&overlay.snapshot()), map);
    }
}

#[test]
fn readers_see_what_was_written_when_they_ask() {
    let fixture = Fixture::new("deepseek");
    let path = fixture.folder().join("overlay");
    assert!(OverlayReader::open(fixture.pack(), &path).is_err());
    let overlay = open(&fixture, &path).unwrap();
    let mut map = Map::new();
    let readers = [(); 2].map(|()| OverlayReader::open(fixture.pack(), &path).unwrap());
    for round in 0..20 {
        let before = map.clone();
        let version = write(&overlay, &mut map, round);
        assert_eq!(map_of(&readers[0].snapshot()), before, "not before it asks");
        assert_eq!(readers[0].refresh().unwrap(), version);
        assert_eq!(map_of(&readers[0].snapshot()), map);
    }
    // More versions than the other has seen at a time, and more than are listed.
    assert_eq!(readers[1].refresh().unwrap(), 20);
    assert_eq!(map_of(&readers[1].snapshot()), map);
    for round in 0..1_100_u32 {
        write(&overlay, &mut map, (round % 200) as u8);
    }
    assert_eq!(readers[1].refresh().unwrap(), 1_120);
    assert_eq!(map_of(&readers[1].snapshot()), map);
    // A batch of more keys than are listed.
    let mut edits = Edits::new();
    let layer = read_manifest(fixture.pack()).unwrap().tables[0].layer;
    for index in 0..5_000_u64 {
        let key = Key::NGram(vec![(index % 40) as u32, (index / 40 % 40) as u32, 5]);
        let rows = rows_for(overlay.shape(), layer, &key, index as u8);
        change(&mut edits, &mut map, layer, key, Some(rows));
    }
    overlay.write(&edits).unwrap();
    // The writer has gone, and has been replaced.
    drop(overlay);
    let overlay = open(&fixture, &path).unwrap();
    write(&overlay, &mut map, 7);
    for reader in &readers {
        assert_eq!(reader.refresh().unwrap(), 1_122);
        assert_eq!(map_of(&reader.snapshot()), map);
    }
}

#[test]
fn readers_do_not_keep_older_rows_where_a_new_writer_has_moved_the_log_to_a_table() {
    let fixture = Fixture::new("deepseek");
    let path = fixture.folder().join("overlay");
    let mut map = Map::new();
    let mut overlay = open(&fixture, &path).unwrap();
    write(&overlay, &mut map, 0);
    let reader = OverlayReader::open(fixture.pack(), &path).unwrap();
    let layers: Vec<LayerId> = overlay.shape().layers().collect();
    for byte in 1..6_u8 {
        // Keys that the reader has read from the log.
        let mut edits = Edits::new();
        for key in [Key::Row(RowId(0)), Key::NGram(vec![0, 3])] {
            let rows = rows_for(overlay.shape(), layers[0], &key, byte);
            change(&mut edits, &mut map, layers[0], key, Some(rows));
        }
        let version = overlay.write(&edits).unwrap();
        drop(overlay);
        overlay = open(&fixture, &path).unwrap();
        assert_eq!(reader.refresh().unwrap(), version);
        assert_eq!(map_of(&reader.snapshot()), map);
        // And those of one table alone, which the other's do not bring along.
        let key = Key::Row(RowId(1));
        let mut edits = Edits::new();
        let rows = rows_for(overlay.shape(), layers[1], &key, byte);
        change(&mut edits, &mut map, layers[1], key, Some(rows));
        let version = overlay.write(&edits).unwrap();
        assert_eq!(reader.refresh().unwrap(), version);
        assert_eq!(map_of(&reader.snapshot()), map);
    }
}

#[test]
fn there_is_one_writer_and_the_second_is_told() {
    let fixture = Fixture::new("demo");
    let path = fixture.folder().join("overlay");
    let overlay = open(&fixture, &path).unwrap();
    let refused = open(&fixture, &path).unwrap_err();
    assert!(matches!(refused, OverlayError::Locked { .. }), "{refused}");
    drop(overlay);
    open(&fixture, &path).unwrap();
}

#[test]
fn edits_of_another_pack_are_refused_and_those_of_the_same_rows_are_not() {
    let fixture = Fixture::new("deepseek");
    let path = fixture.folder().join("overlay");
    drop(open(&fixture, &path).unwrap());

    // The same model with other rows.
    let (checkpoint, pack) = (fixture.folder().join("c2"), fixture.folder().join("p2"));
    make_checkpoint(&small_family("deepseek"), 2, &checkpoint);
    make_pack(&checkpoint, &pack);
    let refused = Overlay::open(&pack, &path, Durability::Drive).unwrap_err();
    assert!(
        matches!(refused, OverlayError::OtherPack { .. }),
        "{refused}"
    );
    let refused = OverlayReader::open(&pack, &path).unwrap_err();
    assert!(
        matches!(refused, OverlayError::OtherPack { .. }),
        "{refused}"
    );

    // Another model.
    let other = Fixture::new("qwen");
    let refused = open(&other, &path).unwrap_err();
    assert!(matches!(refused, OverlayError::Foreign { .. }), "{refused}");

    // The same rows in several folders.
    let striped = fixture.folder().join("striped");
    let stripes = ["s1", "s2"].map(|name| fixture.folder().join(name));
    make_striped(&fixture.checkpoint(), &striped, &stripes);
    Overlay::open(&striped, &path, Durability::Drive).unwrap();

    // The same rows in frames, and others.
    let cold = fixture.folder().join("cold");
    make_cold(&fixture.pack(), &cold);
    Overlay::open(&cold, &path, Durability::Drive).unwrap();
    let other_cold = fixture.folder().join("other-cold");
    make_cold(&pack, &other_cold);
    let refused = Overlay::open(&other_cold, &path, Durability::Drive).unwrap_err();
    assert!(
        matches!(refused, OverlayError::OtherPack { .. }),
        "{refused}"
    );
}

#[test]
fn folders_that_are_no_overlay_are_refused_and_left_as_they_are() {
    let fixture = Fixture::new("demo");
    let before = engram_tests::files(&fixture.pack());
    let refused = open(&fixture, &fixture.pack()).unwrap_err();
    assert!(matches!(refused, OverlayError::Foreign { .. }), "{refused}");
    assert_eq!(engram_tests::files(&fixture.pack()), before);

    // A database of somebody else's.
    let path = fixture.folder().join("theirs");
    let theirs = rocksdb::DB::open_default(&path).unwrap();
    theirs.put(b"key", b"value").unwrap();
    drop(theirs);
    let refused = open(&fixture, &path).unwrap_err();
    assert!(matches!(refused, OverlayError::Foreign { .. }), "{refused}");
    let mut options = rocksdb::Options::default();
    options.create_missing_column_families(true);
    let theirs = rocksdb::DB::open_cf(&options, &path, ["default", "users"]).unwrap();
    drop(theirs);
    let refused = open(&fixture, &path).unwrap_err();
    assert!(refused.to_string().contains("users"), "{refused}");

    // One of a later format.
    let path = fixture.folder().join("later");
    drop(open(&fixture, &path).unwrap());
    let families = rocksdb::DB::list_cf(&rocksdb::Options::default(), &path).unwrap();
    let later = rocksdb::DB::open_cf(&rocksdb::Options::default(), &path, &families).unwrap();
    later.put(b"format", b"engram-overlay 2").unwrap();
    drop(later);
    let refused = open(&fixture, &path).unwrap_err();
    assert!(
        refused.to_string().contains("engram-overlay 2"),
        "{refused}"
    );
}

/// Opens the database of an overlay, as a mad program would.
fn raw(path: &Path) -> rocksdb::DB {
    let families = rocksdb::DB::list_cf(&rocksdb::Options::default(), path).unwrap();
    rocksdb::DB::open_cf(&rocksdb::Options::default(), path, families).unwrap()
}

#[test]
fn entries_that_do_not_fit_the_pack_are_refused_by_name() {
    let fixture = Fixture::new("deepseek");
    let layer = read_manifest(fixture.pack()).unwrap().tables[0].layer;
    let name = format!("layer-{:02}", layer.0);
    let row = |row: u64| [&[0][..], &row.to_be_bytes()].concat();
    let cases: [(Vec<u8>, usize); 5] = [
        (row(0), 3),
        (row(1 << 40), 66),
        (vec![2, 0, 0, 0, 1, 0, 0, 0, 99], 132),
        (vec![1, 2, 3], 66),
        (vec![], 66),
    ];
    for (index, (key, bytes)) in cases.into_iter().enumerate() {
        let path = fixture.folder().join(format!("overlay{index}"));
        drop(open(&fixture, &path).unwrap());
        let database = raw(&path);
        let family = database.cf_handle(&name).unwrap();
        database.put_cf(family, key, vec![0; bytes]).unwrap();
        drop(database);
        let refused = open(&fixture, &path).unwrap_err();
        let is_told = matches!(
            refused,
            OverlayError::Entry {
                cause: EditError::RowBytes { .. },
                ..
            } | OverlayError::Entry {
                cause: EditError::RowOutOfRange { .. },
                ..
            } | OverlayError::Entry {
                cause: EditError::UnknownId { .. },
                ..
            } | OverlayError::Foreign { .. }
        );
        assert!(is_told, "case {index}: {refused:?}");
    }
}

/// Files of a database that end with `end`, the largest first.
fn files_of(path: &Path, end: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|file| file.to_string_lossy().ends_with(end))
        .collect();
    files.sort_by_key(|file| std::cmp::Reverse(fs::metadata(file).unwrap().len()));
    files
}

#[test]
fn a_flipped_bit_anywhere_is_an_error_and_a_cut_log_ends_with_a_whole_batch() {
    let fixture = Fixture::new("deepseek");
    for end in [".log", ".sst"] {
        let path = fixture.folder().join(format!("overlay{end}"));
        let overlay = open(&fixture, &path).unwrap();
        let mut maps = vec![Map::new()];
        for round in 0..30 {
            let mut map = maps[maps.len() - 1].clone();
            write(&overlay, &mut map, round);
            maps.push(map);
        }
        drop(overlay);
        if end == ".sst" {
            // Opening a database writes what its log has to files.
            drop(open(&fixture, &path).unwrap());
        }
        let file = files_of(&path, end).remove(0);
        let whole = fs::read(&file).unwrap();
        let copy = |bytes: &[u8]| {
            let copy = tempfile::tempdir().unwrap();
            for (name, content) in engram_tests::files(&path) {
                fs::write(copy.path().join(name), content).unwrap();
            }
            fs::write(copy.path().join(file.file_name().unwrap()), bytes).unwrap();
            copy
        };
        let mut refused = 0;
        for step in 1..40 {
            let at = whole.len() * step / 40;
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let copy = copy(&bytes);
            match open(&fixture, copy.path()) {
                Err(OverlayError::Damaged { .. } | OverlayError::Database { .. }) => refused += 1,
                Err(other) => panic!("{end} at {at}: {other:?}"),
                // Bytes that nobody reads, such as properties: the entries are all there.
                Ok(overlay) => assert_eq!(map_of(&overlay.snapshot()), maps[30], "{end} at {at}"),
            }
        }
        assert!(refused > 20, "{end}: {refused} of 39 flips are noticed");
        if end == ".log" {
            for step in 1..40 {
                let copy = copy(&whole[..whole.len() * step / 40]);
                let overlay = open(&fixture, copy.path()).unwrap();
                let snapshot = overlay.snapshot();
                assert_eq!(map_of(&snapshot), maps[snapshot.version() as usize]);
            }
        }
    }
}
