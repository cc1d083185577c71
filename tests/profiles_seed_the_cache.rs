//! A store that is opened with a profile has its rows before they are asked for, and serves the same ones.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{collections::HashMap, fs, path::PathBuf};

use engram::{
    Config, LayerId, LookupError, OpenError, Reader, Resident, RowId, RowIds, Sequence, Store,
    read_profile,
};
use engram_checkpoint::{Checkpoint, DemoConfig, Family};
use engram_pack::attach;
use engram_tests::{
    Fixture, READERS, all_rows, count, look_up, make_checkpoint, make_pack, open, sample_text,
    small_families, small_family, whole_tables,
};

const DIRECT: [Reader; 2] = [Reader::Direct, Reader::DirectThreads];

/// A pack, and a profile of the sample text beside it.
struct Seeded {
    fixture: Fixture,
    profile: PathBuf,
}

impl Seeded {
    fn new(family: &str) -> Self {
        let fixture = Fixture::new(family);
        let profile = fixture.folder().join("text.profile");
        let store = open(&fixture.pack(), Reader::Mmap);
        let text = sample_text(store.hasher());
        fs::write(&profile, count(store.hasher(), &text, 1_000).to_bytes()).unwrap();
        Self { fixture, profile }
    }

    fn config(&self, reader: Reader, cache_bytes: usize) -> Config {
        let config = Config::new().reader(reader).cache_bytes(cache_bytes);
        config.profile(&self.profile)
    }

    fn open(&self, config: Config) -> Result<Store, OpenError> {
        Store::open(self.fixture.pack(), config)
    }
}

/// Row ids of the sample text.
fn text_rows(store: &Store) -> RowIds {
    let mut rows = RowIds::new();
    let text = sample_text(store.hasher());
    let hasher = store.hasher();
    hasher
        .extend(&mut Sequence::new(), &text, &mut rows)
        .unwrap();
    rows
}

/// Reads of the drive, rows asked for in the cache, and rows found there.
fn counts(store: &Store) -> [u64; 3] {
    let tables = store.metrics().tables;
    let columns = || tables.iter().flat_map(|table| &table.columns);
    [
        tables.iter().map(|table| table.reads).sum(),
        columns().map(|column| column.rows).sum(),
        columns().map(|column| column.cached).sum(),
    ]
}

#[test]
fn the_rows_of_a_known_text_take_no_read() {
    for (name, _) in small_families() {
        let seeded = Seeded::new(name);
        let memory = open(&seeded.fixture.pack(), Reader::Memory);
        for reader in DIRECT {
            let store = seeded.open(seeded.config(reader, 8 << 20)).unwrap();
            let read = store.wait_seeded().unwrap();
            assert!(read > 0, "{name}");
            assert_eq!(store.metrics().seeded_rows, read);
            let [reads, looks, _] = counts(&store);
            assert_eq!(looks, 0, "seeding is no look");
            let rows = text_rows(&store);
            for (index, layer) in store.scheme().layers.iter().enumerate() {
                let found = look_up(&store, layer.id, rows.layer(index)).unwrap();
                assert!(found == look_up(&memory, layer.id, rows.layer(index)).unwrap());
            }
            let [reads_then, looks, found] = counts(&store);
            assert_eq!((reads_then, found), (reads, looks), "{name}");
            assert!(looks > 0);
        }
    }
}

#[test]
fn every_setting_with_a_profile_gives_the_rows_of_memory() {
    for (name, _) in small_families() {
        let seeded = Seeded::new(name);
        let expected = whole_tables(&open(&seeded.fixture.pack(), Reader::Memory));
        for reader in READERS {
            for resident in [Resident::None, Resident::Orders(2), Resident::Bytes(20_000)] {
                for cache_bytes in [0, 30_000, 1 << 20] {
                    let config = seeded.config(reader, cache_bytes).resident(resident);
                    let store = seeded.open(config.clone()).unwrap();
                    // While it is being seeded, and after.
                    assert!(whole_tables(&store) == expected, "{name} {config:?}");
                    store.wait_seeded().unwrap();
                    assert!(whole_tables(&store) == expected, "{name} {config:?}");
                }
            }
        }
    }
}

#[test]
fn a_small_cache_gets_the_rows_that_are_wanted_most() {
    let seeded = Seeded::new("deepseek");
    // A row takes nine words, its seal and its tag one each: one set of eight a table.
    let store = seeded
        .open(seeded.config(Reader::Direct, 2 * 8 * 88))
        .unwrap();
    assert_eq!(store.wait_seeded().unwrap(), 16);
    let rows = text_rows(&store);
    for (index, layer) in store.scheme().layers.iter().enumerate() {
        // N-grams that share a row, of which small tables have many, are counted together here.
        let mut wanted: HashMap<RowId, u64> = HashMap::new();
        for &row in rows.layer(index) {
            *wanted.entry(row).or_default() += 1;
        }
        let mut wanted: Vec<_> = wanted.into_iter().collect();
        wanted.sort_by_key(|&(row, count)| (std::cmp::Reverse(count), row));
        let best: Vec<RowId> = wanted[..8].iter().map(|&(row, _)| row).collect();
        assert!(wanted[0].1 > wanted[8].1, "{wanted:?}");
        look_up(&store, layer.id, &best).unwrap();
    }
    assert_eq!(counts(&store)[2], 16, "none of them is missing");
}

#[test]
fn a_second_process_finds_the_shared_cache_seeded() {
    let seeded = Seeded::new("longcat");
    let config = || {
        let config = seeded.config(Reader::Direct, 1 << 20);
        config.cache_folder(seeded.fixture.folder().join("cache"))
    };
    let first = seeded.open(config()).unwrap();
    assert!(first.wait_seeded().unwrap() > 0);
    let second = seeded.open(config()).unwrap();
    assert_eq!(second.wait_seeded().unwrap(), 0);
    look_up(&second, LayerId(0), text_rows(&second).layer(0)).unwrap();
    assert_eq!(counts(&second)[0], 0, "nothing is read again");
}

#[test]
fn what_others_have_read_is_not_driven_out() {
    let seeded = Seeded::new("longcat");
    let cache = |config: Config| config.cache_folder(seeded.fixture.folder().join("cache"));
    let first = cache(Config::new().reader(Reader::Direct).cache_bytes(3_000));
    let first = seeded.open(first).unwrap();
    let rows = all_rows(&first, 0);
    for _ in 0..3 {
        look_up(&first, LayerId(0), &rows).unwrap();
    }
    let second = cache(seeded.config(Reader::Direct, 3_000));
    let second = seeded.open(second).unwrap();
    assert_eq!(second.wait_seeded().unwrap(), 0, "the cache is full");
    assert_eq!(counts(&second)[0], 0, "so nothing is read");
}

#[test]
fn an_attached_pack_is_seeded_too() {
    let seeded = Seeded::new("qwen");
    let attached = seeded.fixture.folder().join("attached");
    attach(
        &Checkpoint::open(&seeded.fixture.checkpoint(), None).unwrap(),
        &attached,
    )
    .unwrap();
    let store = Store::open(&attached, seeded.config(Reader::Direct, 1 << 20)).unwrap();
    assert!(store.wait_seeded().unwrap() > 0);
    let reads = counts(&store)[0];
    look_up(&store, LayerId(1), text_rows(&store).layer(0)).unwrap();
    assert_eq!(counts(&store)[0], reads);
}

#[test]
fn a_row_that_cannot_be_seeded_is_told_and_the_others_are_there() {
    let seeded = Seeded::new("deepseek");
    let config = seeded.config(Reader::Direct, 1 << 20);
    let rows = text_rows(&seeded.open(config.clone()).unwrap());
    let bad = rows.position(0, 3)[0];
    // Two lines of 80 bytes a record, in the first group of the first shard.
    let path = seeded.fixture.pack().join("layer-01/order-2-head-0.shard");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4_096 + 80 * usize::try_from(bad.0).unwrap()] ^= 1;
    fs::write(&path, bytes).unwrap();
    let store = seeded.open(config).unwrap();
    let told = store.wait_seeded().unwrap_err();
    assert!(
        matches!(told, LookupError::Damaged { row, .. } if *row == bad),
        "{told}"
    );
    assert!(store.metrics().seed_failures > 0);
    let text = store.metrics().to_prometheus();
    assert!(!text.contains("engram_seed_failures_total 0\n"), "{text}");
    let sound: Vec<RowId> = rows
        .layer(0)
        .iter()
        .copied()
        .filter(|&r| r != bad)
        .collect();
    look_up(&store, LayerId(1), &sound).unwrap();
    let [_, looks, found] = counts(&store);
    assert_eq!(looks, found);
    assert!(look_up(&store, LayerId(1), &[bad]).is_err());
}

#[test]
fn a_store_that_goes_ends_its_seeding() {
    let seeded = Seeded::new("demo");
    for reader in DIRECT {
        for _ in 0..20 {
            drop(seeded.open(seeded.config(reader, 1 << 20)).unwrap());
        }
    }
}

#[test]
fn without_a_cache_nothing_is_seeded_but_the_profile_is_checked() {
    let seeded = Seeded::new("deepseek");
    for reader in READERS {
        let config = seeded.config(reader, 0);
        let store = seeded.open(config.clone()).unwrap();
        assert_eq!(store.wait_seeded().unwrap(), 0);
        let missing = config.profile(seeded.fixture.folder().join("none"));
        let refused = seeded.open(missing).unwrap_err();
        assert!(matches!(refused, OpenError::Io(_)), "{refused}");
    }
}

#[test]
fn other_models_and_damaged_profiles_are_refused_by_name() {
    let [deepseek, longcat] = ["deepseek", "longcat"].map(Seeded::new);
    let config = deepseek.config(Reader::Direct, 1 << 20);
    let refused = deepseek.open(config.clone().profile(&longcat.profile));
    let said = refused.unwrap_err().to_string();
    let path = longcat.profile.display().to_string();
    assert!(
        said.starts_with(&path) && said.contains("hashed vocabulary is 64, the pack's is 40"),
        "{said}"
    );
    let mut bytes = fs::read(&deepseek.profile).unwrap();
    bytes[200] ^= 1;
    fs::write(&deepseek.profile, bytes).unwrap();
    let said = deepseek.open(config).unwrap_err().to_string();
    let path = deepseek.profile.display().to_string();
    assert!(
        said.starts_with(&path) && said.contains("profile: checksum is"),
        "{said}"
    );
    let said = read_profile(deepseek.fixture.pack().join("manifest.json")).unwrap_err();
    assert!(said.to_string().contains("magic"), "{said}");
}

/// Orders of the columns in memory, where the larger columns of order 3 do not fit all.
fn resident_orders(text: &[u32], cache_bytes: usize, bytes: u64) -> Vec<u32> {
    let Family::Demo(small) = small_family("demo") else {
        unreachable!("the demo is one");
    };
    let family = Family::Demo(DemoConfig {
        layers: vec![1],
        bucket_starts: vec![30, 400],
        ..small
    });
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, pack) = (folder.path().join("checkpoint"), folder.path().join("pack"));
    make_checkpoint(&family, 1, &checkpoint);
    make_pack(&checkpoint, &pack);
    let profile = folder.path().join("profile");
    let hasher = engram::read_hasher(&pack).unwrap();
    fs::write(&profile, count(&hasher, text, 1_000).to_bytes()).unwrap();
    let config = Config::new().cache_bytes(cache_bytes).profile(profile);
    let store = Store::open(&pack, config.resident(Resident::Bytes(bytes))).unwrap();
    let on_disk = store.metrics().tables[0].columns.clone();
    let columns = store.scheme().columns(0);
    let resident = columns.filter(|column| on_disk.iter().all(|disk| disk.column != column.index));
    resident.map(|column| column.order).collect()
}

#[test]
fn resident_columns_are_those_that_save_the_drive_most() {
    // A column of order 2 takes 8 KiB, one of order 3 36 KiB.
    let bytes = 40_000;
    let different: Vec<u32> = (0..900)
        .map(|at| (at * 7 + at * at / 31 * 11) % 59)
        .collect();
    let mut random = 1_u32;
    let of_four = std::iter::repeat_with(|| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 30) * 3
    });
    let of_four: Vec<u32> = of_four.take(900).collect();
    // Without a cache all look-ups count, and small columns save most for their bytes.
    assert_eq!(resident_orders(&of_four, 0, bytes), [2, 2]);
    // A cache for 28 n-grams holds few of these.
    assert_eq!(resident_orders(&different, 5_000, bytes), [2, 2]);
    // But all sixteen pairs of four tokens, and a fifth of the triples, which are left to the drive.
    assert_eq!(resident_orders(&of_four, 5_000, bytes), [3]);
}
