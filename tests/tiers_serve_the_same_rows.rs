//! Whatever lies in memory, in the cache or on the drive: the rows are the same, and counted.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use engram::{Batch, Config, LayerId, LookupError, OpenError, Reader, Resident, RowId, Store};
use engram_checkpoint::Checkpoint;
use engram_pack::attach;
use engram_tests::{Fixture, all_rows, look_up, open, small_families};
use proptest::prelude::*;

const DIRECT: [Reader; 2] = [Reader::Direct, Reader::DirectThreads];

fn configs(folder: &std::path::Path) -> Vec<Config> {
    let mut configs = Vec::new();
    for reader in [
        Reader::Mmap,
        Reader::Pread,
        Reader::Direct,
        Reader::DirectThreads,
    ] {
        for resident in [Resident::None, Resident::Orders(2), Resident::Bytes(20_000)] {
            for cache_bytes in [0, 30_000, 1 << 20] {
                let config = Config::new().reader(reader).resident(resident);
                let config = config.io(
                    if reader == Reader::DirectThreads {
                        3
                    } else {
                        1
                    },
                    16,
                );
                configs.push(config.cache_bytes(cache_bytes).cache_folder(folder));
            }
        }
    }
    configs
}

#[test]
fn every_setting_gives_the_rows_of_memory() {
    for (name, _) in small_families() {
        let fixture = Fixture::new(name);
        let memory = open(&fixture.pack(), Reader::Memory);
        let layer = memory.scheme().layers[0].id;
        let rows = all_rows(&memory, 0);
        let expected = look_up(&memory, layer, &rows).unwrap();
        for config in configs(fixture.folder()) {
            let store = Store::open(fixture.pack(), config.clone()).unwrap();
            for round in 0..3 {
                let found = look_up(&store, layer, &rows).unwrap();
                assert!(found == expected, "{name} {config:?} round {round}");
                let buffer = store.buffer(layer, rows.len()).unwrap();
                let batch = Batch::new(layer, &rows);
                let found = store.submit(batch, buffer).unwrap().wait().unwrap();
                assert!(*found == *expected, "{name} {config:?} round {round}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn any_batches_in_any_order(
        batches in proptest::collection::vec(
            proptest::collection::vec(any::<prop::sample::Index>(), 0..100), 1..8),
        setting in any::<prop::sample::Index>(),
    ) {
        let fixture = Fixture::new("demo");
        let memory = open(&fixture.pack(), Reader::Memory);
        let all = all_rows(&memory, 0);
        let config = setting.get(&configs(fixture.folder())).clone();
        let store = Store::open(fixture.pack(), config).unwrap();
        for picks in batches {
            let rows: Vec<RowId> = picks.iter().map(|pick| all[pick.index(all.len())]).collect();
            let expected = look_up(&memory, LayerId(1), &rows).unwrap();
            prop_assert!(look_up(&store, LayerId(1), &rows).unwrap() == expected);
        }
    }
}

#[test]
fn what_was_read_once_comes_from_the_cache_and_is_counted() {
    let fixture = Fixture::new("deepseek");
    for reader in DIRECT {
        let config = Config::new().reader(reader).cache_bytes(1 << 20);
        let store = Store::open(fixture.pack(), config).unwrap();
        let rows = all_rows(&store, 0);
        let mut doubled = rows.clone();
        doubled.extend(&rows);
        look_up(&store, LayerId(1), &doubled).unwrap();
        let first = store.metrics().tables[0].clone();
        assert_eq!((first.batches, first.rows), (1, 240));
        // Each row is read once, and the 51 of a group of 4 KiB come together.
        assert_eq!(first.columns.len(), 4);
        assert_eq!(first.reads, 4);
        assert_eq!(first.bytes_used, 120 * 66);
        assert!(first.bytes_read >= first.bytes_used, "{first:?}");
        look_up(&store, LayerId(1), &rows).unwrap();
        let second = store.metrics().tables[0].clone();
        assert_eq!(second.reads, first.reads);
        for column in &second.columns {
            assert_eq!(column.rows, 3 * column.cached, "{column:?}");
        }
        let text = store.metrics().to_prometheus();
        assert!(text.contains("engram_reads_in_flight 0\n"), "{text}");
        assert!(
            text.contains("engram_rows_total{layer=\"1\"} 360\n"),
            "{text}"
        );
        assert!(
            text.contains(
                "engram_column_cached_rows_total{layer=\"1\",order=\"2\",head=\"1\"} 29\n"
            ),
            "{text}"
        );
    }
}

#[test]
fn a_warmed_cache_needs_no_reads() {
    let fixture = Fixture::new("deepseek");
    for reader in DIRECT {
        let config = Config::new().reader(reader).cache_bytes(1 << 20);
        let store = Store::open(fixture.pack(), config).unwrap();
        let rows = all_rows(&store, 0);
        store.warm(Batch::new(LayerId(1), &rows)).unwrap();
        let reads = store.metrics().tables[0].reads;
        look_up(&store, LayerId(1), &rows).unwrap();
        assert_eq!(store.metrics().tables[0].reads, reads);
    }
}

#[test]
fn processes_share_a_cache_by_its_folder() {
    let fixture = Fixture::new("longcat");
    let config = || {
        let config = Config::new().reader(Reader::Direct).cache_bytes(1 << 20);
        Store::open(fixture.pack(), config.cache_folder(fixture.folder())).unwrap()
    };
    let (one, other) = (config(), config());
    let rows = all_rows(&one, 0);
    let expected = look_up(&one, LayerId(0), &rows).unwrap();
    assert!(look_up(&other, LayerId(0), &rows).unwrap() == expected);
    assert_eq!(other.metrics().tables[0].reads, 0);
}

#[test]
fn processes_share_resident_columns_by_their_folder() {
    let fixture = Fixture::new("deepseek");
    let folder = fixture.folder().join("shm");
    let config = Config::new()
        .resident(Resident::Orders(2))
        .resident_folder(&folder);
    let expected = look_up_all(&open(&fixture.pack(), Reader::Memory));
    // A process that was killed while it copied.
    std::fs::create_dir(&folder).unwrap();
    let digest = open(&fixture.pack(), Reader::Mmap).manifest().tables[0].shards[0].data;
    let copy = folder.join(format!("engram-{digest}.shard"));
    std::fs::write(copy.with_extension("shard.partial"), b"half").unwrap();
    let stores: Vec<Store> = std::thread::scope(|scope| {
        let opened: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| Store::open(fixture.pack(), config.clone()).unwrap()))
            .collect();
        opened
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for store in &stores {
        assert!(look_up_all(store) == expected);
    }
    let copies = std::fs::read_dir(&folder).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".shard")
    });
    assert_eq!(copies.count(), 4, "two columns of two tables");
    // Rows of a damaged copy are refused like any others, and those who open the pack next get another copy.
    let mut bytes = std::fs::read(&copy).unwrap();
    bytes[4_096] ^= 1;
    std::fs::write(&copy, bytes).unwrap();
    let store = Store::open(fixture.pack(), config.clone()).unwrap();
    let refused = look_up(&store, LayerId(1), &[RowId(0)]).unwrap_err();
    assert!(
        matches!(refused, LookupError::DamagedCopy { .. }),
        "{refused}"
    );
    assert!(look_up_all(&Store::open(fixture.pack(), config).unwrap()) == expected);
}

fn look_up_all(store: &Store) -> Vec<u8> {
    look_up(store, LayerId(1), &all_rows(store, 0)).unwrap()
}

const CHILD_PACK: &str = "ENGRAM_TEST_CHILD_PACK";
const CHILD_FOLDER: &str = "ENGRAM_TEST_CHILD_FOLDER";

fn shared_cache(pack: &Path, folder: &Path) -> Store {
    // Too small for the table, so that rows are always being replaced.
    let config = Config::new().reader(Reader::DirectThreads).io(2, 1);
    Store::open(pack, config.cache_bytes(20_000).cache_folder(folder)).unwrap()
}

/// No test: the process that the next one kills.
#[test]
#[ignore = "runs for ever, in a process of its own"]
fn child_that_fills_the_cache() {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let (Some(pack), Some(folder)) = (variable(CHILD_PACK), variable(CHILD_FOLDER)) else {
        return;
    };
    let store = shared_cache(&pack, &folder);
    println!("begun");
    loop {
        look_up_all(&store);
    }
}

#[test]
fn a_killed_process_leaves_the_shared_cache_right() {
    let fixture = Fixture::new("deepseek");
    let expected = look_up_all(&open(&fixture.pack(), Reader::Memory));
    let store = shared_cache(&fixture.pack(), fixture.folder());
    for round in 0..10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "child_that_fills_the_cache",
                "--nocapture",
            ])
            .env(CHILD_PACK, fixture.pack())
            .env(CHILD_FOLDER, fixture.folder())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("begun")));
        for _ in 0..20 {
            assert!(look_up_all(&store) == expected, "round {round}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for _ in 0..20 {
            assert!(look_up_all(&store) == expected, "round {round}");
        }
    }
    let table = &store.metrics().tables[0];
    assert!(
        table.columns.iter().any(|column| column.cached > 0),
        "{table:?}"
    );
}

#[test]
fn a_store_without_checks_cannot_make_others_serve_damage() {
    let fixture = Fixture::new("deepseek");
    let path = fixture.pack().join("layer-01/order-2-head-0.shard");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4_096 + 5] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let config = || {
        let config = Config::new().reader(Reader::Direct).cache_bytes(1 << 20);
        config.cache_folder(fixture.folder().join("cache"))
    };
    let unchecked = Store::open(fixture.pack(), config().check_seals(false)).unwrap();
    let checked = Store::open(fixture.pack(), config()).unwrap();
    for _ in 0..2 {
        look_up(&unchecked, LayerId(1), &[RowId(0)]).unwrap();
        let refused = look_up(&checked, LayerId(1), &[RowId(0)]).unwrap_err();
        assert!(matches!(refused, LookupError::Damaged { .. }), "{refused}");
    }
}

#[test]
fn garbage_in_a_shared_cache_is_never_served() {
    let fixture = Fixture::new("longcat");
    let config = || Config::new().reader(Reader::Direct).cache_bytes(1 << 16);
    let open = || Store::open(fixture.pack(), config().cache_folder(fixture.folder())).unwrap();
    let store = open();
    let rows = all_rows(&store, 0);
    let expected = look_up(&store, LayerId(0), &rows).unwrap();
    let cache = std::fs::read_dir(fixture.folder())
        .unwrap()
        .find_map(|entry| {
            let path = entry.unwrap().path();
            path.extension()
                .is_some_and(|end| end == "cache")
                .then_some(path)
        });
    let cache = cache.unwrap();
    // A process that was killed, or went mad, may have left anything.
    let mut bytes = std::fs::read(&cache).unwrap();
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte ^= u8::from(index % 97 == 0) << (index % 8);
    }
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&cache)
        .unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
    for store in [store, open()] {
        for _ in 0..2 {
            assert!(look_up(&store, LayerId(0), &rows).unwrap() == expected);
        }
    }
}

#[test]
fn an_attached_pack_has_no_columns_to_load() {
    let fixture = Fixture::new("qwen");
    let attached = fixture.folder().join("attached");
    attach(
        &Checkpoint::open(&fixture.checkpoint(), None).unwrap(),
        &attached,
    )
    .unwrap();
    let refused = Store::open(&attached, Config::new().resident(Resident::Orders(2)));
    assert!(matches!(refused, Err(OpenError::NoColumns)));
    // Its rows are one read each, so they can be cached.
    let config = Config::new().reader(Reader::Direct).cache_bytes(1 << 20);
    let store = Store::open(&attached, config).unwrap();
    let rows = all_rows(&store, 0);
    let expected = look_up(&open(&fixture.pack(), Reader::Memory), LayerId(1), &rows).unwrap();
    for _ in 0..2 {
        assert!(look_up(&store, LayerId(1), &rows).unwrap() == expected);
    }
    assert!(
        store.metrics().tables[0]
            .columns
            .iter()
            .all(|column| column.cached > 0)
    );
}
