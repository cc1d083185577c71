//! A pack whose shards lie in several folders serves the rows of one that has them in its own.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::Duration,
};

use engram::{
    Batch, Config, FormatError, OpenError, Reader, Resident, RowId, Store, ValueType, read_manifest,
};
use engram_pack::{VerifyOptions, verify};
use engram_tests::{
    Fixture, GatedIo, READERS, files, format_spec, look_up, make_striped, open, python,
    small_families, whole_tables,
};

/// The pack of a fixture, and the same spread over folders beside it.
struct Striped {
    fixture: Fixture,
    pack: PathBuf,
    stripes: Vec<PathBuf>,
}

impl Striped {
    fn new(family: &str, stripes: usize) -> Self {
        let fixture = Fixture::new(family);
        let folder = fixture.folder();
        let stripes = (0..stripes).map(|stripe| folder.join(format!("drive-{stripe}/stripe")));
        let stripes: Vec<PathBuf> = stripes.collect();
        let pack = folder.join("striped");
        make_striped(&fixture.checkpoint(), &pack, &stripes);
        Self {
            fixture,
            pack,
            stripes,
        }
    }

    fn config(reader: Reader) -> Config {
        Config::new().reader(reader).cache_bytes(0)
    }
}

fn is_sound(pack: &Path, options: &VerifyOptions) -> bool {
    let report = verify(pack, options, &|_| ()).unwrap();
    report.records > 0 && report.damage.is_empty() && report.unread.is_empty()
}

#[test]
fn for_every_family_and_reader() {
    for (name, _) in small_families() {
        // Some have fewer columns.
        let most = match name {
            "long-rows" => 2,
            "gemma" => 1,
            _ => 3,
        };
        for stripes in 1..=most {
            let striped = Striped::new(name, stripes);
            let expected = whole_tables(&open(&striped.fixture.pack(), Reader::Pread));
            for reader in READERS {
                let found = whole_tables(&open(&striped.pack, reader));
                assert!(found == expected, "{name}, {stripes} stripes, {reader:?}");
            }
            assert!(is_sound(&striped.pack, &VerifyOptions::default()));
        }
    }
}

#[test]
fn every_stripe_has_as_many_columns() {
    let striped = Striped::new("deepseek", 3);
    let shards: Vec<usize> = striped.stripes.iter().map(|at| files(at).len()).collect();
    assert_eq!(shards, [3, 3, 2]);
    let own: Vec<_> = files(&striped.pack)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(own, ["manifest.json", "token_map.u32le"].map(PathBuf::from));
}

#[test]
fn with_resident_columns_and_a_cache_of_ones_own_or_shared() {
    let striped = Striped::new("deepseek", 2);
    let expected = whole_tables(&open(&striped.fixture.pack(), Reader::Pread));
    let shared = tempfile::tempdir().unwrap();
    for config in [
        Config::new().resident(Resident::Orders(2)),
        Config::new()
            .resident(Resident::Bytes(1 << 20))
            .resident_folder(shared.path()),
        Config::new().cache_bytes(1 << 20),
        Config::new()
            .cache_bytes(1 << 20)
            .cache_folder(shared.path()),
        Config::new().io(2, 4),
    ] {
        let store = Store::open(&striped.pack, config.clone()).unwrap();
        for _ in 0..2 {
            assert!(whole_tables(&store) == expected, "{config:?}");
        }
    }
}

#[test]
fn stripes_within_a_pack_move_with_it() {
    let fixture = Fixture::new("qwen");
    let (pack, moved) = (fixture.folder().join("a"), fixture.folder().join("b"));
    make_striped(
        &fixture.checkpoint(),
        &pack,
        &[pack.clone(), pack.join("x/y")],
    );
    let folders = read_manifest(&pack).unwrap().stripes.unwrap().folders;
    assert_eq!(folders, [".", "x/y"]);
    fs::rename(&pack, &moved).unwrap();
    let expected = whole_tables(&open(&fixture.pack(), Reader::Pread));
    assert!(whole_tables(&open(&moved, Reader::Direct)) == expected);
    assert!(is_sound(&moved, &VerifyOptions::default()));
}

#[test]
fn a_moved_stripe_is_named_and_found_where_the_user_says() {
    let striped = Striped::new("deepseek", 2);
    let now = striped.fixture.folder().join("elsewhere");
    fs::rename(&striped.stripes[1], &now).unwrap();
    let moved = || Config::new().stripe(1, &now);
    let json = format!(r#"{{"stripes": {{"1": {now:?}}}}}"#);
    let expected = whole_tables(&open(&striped.fixture.pack(), Reader::Pread));
    for reader in READERS {
        let refused = Store::open(&striped.pack, Striped::config(reader)).unwrap_err();
        let OpenError::StripeMissing { stripe: 1, .. } = refused else {
            panic!("{refused:?}");
        };
        let said = refused.to_string();
        let folder = striped.stripes[1].display().to_string();
        for words in [
            &*folder,
            "`--stripe 1=DIR`",
            "`Config::stripe`",
            "No such file",
        ] {
            assert!(said.contains(words), "{said}");
        }
        for config in [moved(), Config::from_json(&json).unwrap()] {
            let store = Store::open(&striped.pack, config.reader(reader)).unwrap();
            assert!(whole_tables(&store) == expected, "{reader:?}");
        }
    }
    let stripes = [(1, now.clone())].into();
    let options = VerifyOptions {
        stripes,
        ..VerifyOptions::default()
    };
    assert!(is_sound(&striped.pack, &options));
    assert!(!is_sound(&striped.pack, &VerifyOptions::default()));
    // A stripe in the place of another has other columns.
    let swapped = moved().stripe(0, &now);
    let refused = Store::open(&striped.pack, swapped).unwrap_err();
    assert!(
        matches!(refused, OpenError::StripeMissing { stripe: 0, .. }),
        "{refused:?}"
    );
}

#[test]
fn only_stripes_that_there_are_can_have_moved() {
    let striped = Striped::new("longcat", 2);
    for (pack, stripe, stripes) in [(&striped.pack, 2, 2), (&striped.fixture.pack(), 0, 0)] {
        let refused = Store::open(pack, Config::new().stripe(stripe, "/")).unwrap_err();
        let OpenError::NoStripe {
            stripe: found,
            stripes: all,
            ..
        } = refused
        else {
            panic!("{refused:?}");
        };
        assert_eq!((found, all), (stripe, stripes));
    }
}

#[test]
fn shards_of_another_pack_are_refused() {
    let striped = Striped::new("deepseek", 2);
    // The same scheme and the same sizes, but other rows.
    let other = striped.fixture.folder().join("other");
    engram_tests::make_checkpoint(&engram_tests::small_family("deepseek"), 2, &other);
    let [pack, first, second] = ["pack-2", "first-2", "second-2"].map(|name| other.join(name));
    make_striped(&other, &pack, &[first, second.clone()]);
    for reader in READERS {
        let config = Striped::config(reader).stripe(1, &second);
        let refused = Store::open(&striped.pack, config).unwrap_err();
        let OpenError::Format {
            path,
            cause: FormatError::HeaderField { .. },
        } = &refused
        else {
            panic!("{refused:?}");
        };
        assert!(path.starts_with(&second), "{refused}");
    }
}

/// Rows of each stripe in the first layer: as many as there are, in an order that no read takes together.
fn rows_by_stripe(store: &Store) -> [Vec<RowId>; 2] {
    let layer = store.manifest().tables[0].layer;
    let columns = store.columns(layer).unwrap().iter().enumerate();
    let mut rows = [const { Vec::new() }; 2];
    for (index, column) in columns {
        let stripe = store.manifest().stripe_of(0, index).unwrap();
        rows[stripe as usize]
            .extend((0..column.row_count).map(|row| RowId(column.first_row + row)));
    }
    rows
}

#[test]
fn a_drive_that_stands_still_holds_no_other_up() {
    let striped = Striped::new("long-rows", 2);
    let expected = open(&striped.fixture.pack(), Reader::Pread);
    for (reader, depth) in [(Reader::Direct, 2), (Reader::DirectThreads, 1)] {
        let gate = GatedIo::below(&striped.stripes[0]);
        let config = Striped::config(reader)
            .io(1, depth)
            .file_access(Arc::new(gate.clone()));
        let store = Store::open(&striped.pack, config).unwrap();
        let layer = store.manifest().tables[0].layer;
        let [slow, quick] = rows_by_stripe(&store);
        let submit = |rows: &[RowId]| {
            let buffer = store
                .value_buffer(layer, rows.len(), ValueType::F32)
                .unwrap();
            store.submit(Batch::new(layer, rows), buffer).unwrap()
        };
        // More reads than the slow drive can have in flight, and one that both drives have a part in.
        let stuck: Vec<_> = slow.iter().map(|row| submit(&[*row])).collect();
        let both = submit(&[slow[0], quick[0]]);
        gate.wait_until_begun(1);
        let (done, finished) = mpsc::channel();
        for &row in &quick {
            let ticket = submit(&[row]);
            let done = done.clone();
            ticket.on_done(move || done.send(()).unwrap());
            // One queue for all would never come to it.
            finished
                .recv_timeout(Duration::from_mins(1))
                // Else the store would wait for its reads for ever.
                .inspect_err(|_| gate.open_gate())
                .expect("the quick drive stands still");
            drop(ticket.wait().unwrap());
        }
        assert!(stuck.iter().all(|ticket| !ticket.is_done()) && !both.is_done());
        assert!(
            look_up(&store, layer, &quick).unwrap() == look_up(&expected, layer, &quick).unwrap()
        );
        gate.open_gate();
        for ticket in stuck.into_iter().chain([both]) {
            ticket.wait().unwrap();
        }
        let all = [slow, quick].concat();
        assert!(look_up(&store, layer, &all).unwrap() == look_up(&expected, layer, &all).unwrap());
    }
}

#[test]
fn vectors_of_version_2_still_read() {
    let folder = format_spec().join("vectors");
    let expected = whole_tables(&open(&folder.join("deepseek"), Reader::Pread));
    for reader in READERS {
        assert!(whole_tables(&open(&folder.join("striped/deepseek"), reader)) == expected);
    }
    let Some(mut reader) = python("reader.py") else {
        return;
    };
    let checked = reader
        .arg("check")
        .arg(folder.join("striped"))
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
    assert_eq!(String::from_utf8_lossy(&checked.stdout), "deepseek: ok\n");
}

#[test]
fn todays_packer_writes_the_same_stripes() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, pack) = (folder.path().join("checkpoint"), folder.path().join("pack"));
    engram_tests::make_checkpoint(&engram_tests::small_family("deepseek"), 7, &checkpoint);
    let stripes = [pack.join("stripes/0"), pack.clone(), pack.join("stripes/2")];
    make_striped(&checkpoint, &pack, &stripes);
    assert!(files(&pack) == files(&format_spec().join("vectors/striped/deepseek")));
}

#[test]
fn the_python_reader_finds_stripes_and_refuses_what_ours_refuses() {
    let striped = Striped::new("deepseek", 2);
    let now = striped.fixture.folder().join("elsewhere");
    let read = |moved: &[String]| {
        let mut reader = python("reader.py")?;
        reader.arg(&striped.pack).arg("verify");
        for moved in moved {
            reader.args(["--stripe", moved]);
        }
        Some(reader.output().unwrap().status.success())
    };
    if read(&[]).is_none() {
        return;
    }
    assert_eq!(read(&[]), Some(true));
    fs::rename(&striped.stripes[1], &now).unwrap();
    assert_eq!(read(&[]), Some(false));
    let [first, second, third] = [0, 1, 2].map(|stripe| format!("{stripe}={}", now.display()));
    assert_eq!(read(std::slice::from_ref(&second)), Some(true));
    assert_eq!(read(&[first]), Some(false));
    assert_eq!(read(&[second, third]), Some(false));
}
