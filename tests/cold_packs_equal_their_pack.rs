//! A cold pack gives the rows of the pack that it was made of, and that pack again.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use engram::{
    Backend, Batch, Columns, Config, OpenError, Reader, Resident, RowId, Store, read_manifest,
};
use engram_format::{Manifest, Storage};
use engram_pack::{
    FreezeOptions, FreezeReport, Stop, ThawOptions, VerifyOptions, freeze, thaw, verify,
};
use engram_tests::{
    Fixture, ReaderBackings, When, all_rows, files, look_up, make_checkpoint, make_striped, open,
    small_families, small_family,
};

/// Some frames in a column of some dozens of rows.
const SMALL_FRAMES: u64 = 4_096;

fn frozen(pack: &Path, cold: &Path, frame_bytes: u64) -> FreezeReport {
    let options = FreezeOptions {
        frame_bytes,
        ..FreezeOptions::default()
    };
    freeze(pack, cold, &options, &|_| ()).unwrap()
}

fn thawed(cold: &Path, pack: &Path) {
    thaw(cold, pack, &ThawOptions::default(), &|_| ()).unwrap();
}

#[test]
fn thawing_gives_the_same_bytes() {
    for (family, _) in small_families() {
        let fixture = Fixture::new(family);
        for frame_bytes in [1, SMALL_FRAMES, 64 << 10] {
            let (cold, again) = (
                fixture.folder().join(format!("cold-{frame_bytes}")),
                fixture.folder().join(format!("again-{frame_bytes}")),
            );
            let report = frozen(&fixture.pack(), &cold, frame_bytes);
            thawed(&cold, &again);
            assert!(files(&again) == files(&fixture.pack()), "{family}");
            let found = verify(&cold, &VerifyOptions::default(), &|_| ()).unwrap();
            assert!(found.damage.is_empty(), "{family}: {:?}", found.damage);
            let rows: u64 = (read_manifest(&cold).unwrap().scheme.layers.iter())
                .flat_map(|layer| &layer.buckets)
                .sum();
            assert_eq!(found.records, rows);
            let cold_bytes: u64 = report.columns.iter().map(|column| column.cold_bytes).sum();
            assert_eq!(report.cold_bytes, cold_bytes);
            assert!(report.cold_bytes < report.packed_bytes, "{report:?}");
        }
    }
}

#[test]
fn freezing_gives_the_same_bytes_by_any_number_of_threads() {
    let fixture = Fixture::new("deepseek");
    let colds = [1, 7].map(|jobs| {
        let cold = fixture.folder().join(format!("cold-{jobs}"));
        let options = FreezeOptions {
            jobs,
            frame_bytes: SMALL_FRAMES,
            ..FreezeOptions::default()
        };
        freeze(&fixture.pack(), &cold, &options, &|_| ()).unwrap();
        files(&cold)
    });
    assert!(colds[0] == colds[1]);
}

#[test]
fn a_store_reads_the_rows_of_the_pack() {
    for family in ["demo", "deepseek", "long-rows"] {
        let fixture = Fixture::new(family);
        let cold = fixture.folder().join("cold");
        frozen(&fixture.pack(), &cold, SMALL_FRAMES);
        let packed = open(&fixture.pack(), Reader::Memory);
        let configs = [
            Config::new(),
            Config::new().cache_bytes(0),
            Config::new().reader(Reader::DirectThreads).io(1, 1),
            Config::new().reader(Reader::Memory),
            Config::new().resident(Resident::Orders(2)),
        ];
        for config in configs {
            let case = format!("{family}, {config:?}");
            let store = Store::open(&cold, config).unwrap();
            for (index, layer) in packed.scheme().layers.iter().enumerate() {
                let rows = all_rows(&packed, index);
                let expected = look_up(&packed, layer.id, &rows).unwrap();
                for _ in 0..2 {
                    assert!(
                        look_up(&store, layer.id, &rows).unwrap() == expected,
                        "{case}"
                    );
                }
                for row in rows.iter().rev().step_by(7) {
                    let one = look_up(&store, layer.id, &[*row]).unwrap();
                    assert_eq!(one, look_up(&packed, layer.id, &[*row]).unwrap(), "{case}");
                }
            }
        }
    }
}

#[test]
fn a_rank_opens_its_columns_alone() {
    let fixture = Fixture::new("deepseek");
    let cold = fixture.folder().join("cold");
    frozen(&fixture.pack(), &cold, SMALL_FRAMES);
    fs::remove_file(cold.join("layer-01/order-2-head-0.cold")).unwrap();
    let columns = Columns::Rank { rank: 1, ranks: 2 };
    let [cold, packed] = [cold, fixture.pack()]
        .map(|pack| Store::open(pack, Config::new().columns(columns.clone())).unwrap());
    let layer = packed.scheme().layers[0].id;
    let first = packed.columns(layer).unwrap()[0].first_row;
    let rows: Vec<RowId> = (first..first + 20).map(RowId).collect();
    let found = look_up(&cold, layer, &rows).unwrap();
    assert_eq!(found, look_up(&packed, layer, &rows).unwrap());
}

#[test]
fn neighbours_cost_one_frame_and_metrics_tell() {
    let fixture = Fixture::new("deepseek");
    let cold = fixture.folder().join("cold");
    frozen(&fixture.pack(), &cold, 64 << 10);
    let config = Config::new().io(1, 1).cache_bytes(8 << 20);
    let store = Store::open(&cold, config).unwrap();
    assert!(matches!(store.backend(), Backend::Frames { threads: 1 }));
    let layer = store.scheme().layers[0].id;
    // All rows of the first column lie in one frame; every other one, so that each is a read of its own.
    let rows: Vec<RowId> = (0..20).step_by(2).map(RowId).collect();
    look_up(&store, layer, &rows).unwrap();
    let metrics = store.metrics();
    assert_eq!((metrics.frames.reads, metrics.frames.hits), (1, 9));
    assert_eq!(metrics.frames.cache_bytes, 1 << 20);
    assert!(metrics.cache_bytes <= 7 << 20);
    let cold_bytes = fs::metadata(cold.join("layer-01/order-2-head-0.cold")).unwrap();
    assert!((1..cold_bytes.len()).contains(&metrics.frames.bytes_read));
    assert!(
        metrics
            .to_prometheus()
            .contains("engram_frame_reads_total 1\n")
    );
    // In the cache of rows, or at least in that of frames.
    look_up(&store, layer, &rows).unwrap();
    assert_eq!(store.metrics().frames.reads, 1);
}

#[test]
fn what_only_a_packed_pack_can_do_is_refused_by_name() {
    let fixture = Fixture::new("deepseek");
    let cold = fixture.folder().join("cold");
    frozen(&fixture.pack(), &cold, SMALL_FRAMES);
    let own = ReaderBackings {
        io: Arc::new(engram::SystemIo),
        when: When::AtOnce,
    };
    let cases = [
        (Config::new().reader(Reader::Mmap), "cannot be mapped"),
        (Config::new().reader(Reader::Pread), "one at a time"),
        (
            Config::new().backing(Arc::new(own)),
            "backing of the caller's",
        ),
        (
            Config::new().resident_folder(fixture.folder().join("shared")),
            "cannot be shared",
        ),
    ];
    for (config, expected) in cases {
        let refused = Store::open(&cold, config).unwrap_err();
        let said = refused.to_string();
        assert!(matches!(refused, OpenError::ColdUnsuited { .. }), "{said}");
        assert!(
            said.contains(expected) && said.contains("engram-pack thaw"),
            "{said}"
        );
    }
}

#[test]
fn attached_and_cold_packs_are_not_frozen_and_packed_ones_not_thawed() {
    let fixture = Fixture::new("deepseek");
    let attached = fixture.folder().join("attached");
    let checkpoint = engram_checkpoint::Checkpoint::open(&fixture.checkpoint(), None).unwrap();
    engram_pack::attach(&checkpoint, &attached).unwrap();
    let cold = fixture.folder().join("cold");
    frozen(&fixture.pack(), &cold, SMALL_FRAMES);
    let new = fixture.folder().join("new");
    let said = |result: anyhow::Result<()>| result.unwrap_err().to_string();
    let freeze =
        |pack: &Path| said(freeze(pack, &new, &FreezeOptions::default(), &|_| ()).map(drop));
    assert!(
        freeze(&attached).contains("engram-pack build"),
        "{}",
        freeze(&attached)
    );
    assert!(freeze(&cold).contains("is a cold pack already"));
    let refused = said(thaw(&fixture.pack(), &new, &ThawOptions::default(), &|_| ()).map(drop));
    assert!(refused.contains("is no cold pack"), "{refused}");
    assert!(!new.exists());
    let over = said(thaw(&cold, &fixture.pack(), &ThawOptions::default(), &|_| ()).map(drop));
    assert!(over.contains("is a finished pack already"), "{over}");
    let lean = engram_pack::lean(&checkpoint, &cold, &BTreeMap::new(), &new, &|_| ());
    assert!(said(lean.map(drop)).contains("engram-pack thaw"));
}

#[test]
fn a_striped_pack_comes_back_over_its_stripes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    make_checkpoint(&small_family("deepseek"), 1, &at("checkpoint"));
    let stripes = [at("pack/here"), at("there")];
    make_striped(&at("checkpoint"), &at("pack"), &stripes);
    // The stripe has moved since.
    fs::rename(at("there"), at("moved")).unwrap();
    let options = FreezeOptions {
        stripes: BTreeMap::from([(1, at("moved"))]),
        ..FreezeOptions::default()
    };
    freeze(&at("pack"), &at("cold"), &options, &|_| ()).unwrap();
    assert_eq!(read_manifest(at("cold")).unwrap().stripes, None);
    let before = [files(&at("pack")), files(&at("moved"))];
    fs::remove_dir_all(at("pack")).unwrap();
    let options = ThawOptions {
        stripes: stripes.to_vec(),
        ..ThawOptions::default()
    };
    thaw(&at("cold"), &at("pack"), &options, &|_| ()).unwrap();
    assert!([files(&at("pack")), files(&at("there"))] == before);
}

/// What `work` leaves when it is ended after `bytes` bytes.
fn stopped_after(bytes: u64, work: impl FnOnce(Stop, &(dyn Fn(u64) + Sync)) -> anyhow::Error) {
    let (stop, done) = (Stop::default(), std::sync::atomic::AtomicU64::new(0));
    let error = work(stop.clone(), &|more| {
        if done.fetch_add(more, std::sync::atomic::Ordering::Relaxed) + more >= bytes {
            stop.stop();
        }
    });
    assert!(format!("{error:#}").contains("stopped"), "{error:#}");
}

#[test]
fn what_was_stopped_goes_on_to_the_same_bytes() {
    let fixture = Fixture::new("deepseek");
    let at = |name: &str| fixture.folder().join(name);
    frozen(&fixture.pack(), &at("expected"), SMALL_FRAMES);
    for (number, bytes) in [1, 40_000, 60_000].into_iter().enumerate() {
        let (cold, again) = (
            at(&format!("cold-{number}")),
            at(&format!("again-{number}")),
        );
        let freezing = |stop, resume| FreezeOptions {
            frame_bytes: SMALL_FRAMES,
            jobs: 1,
            resume,
            stop,
            ..FreezeOptions::default()
        };
        stopped_after(bytes, |stop, progress| {
            freeze(&fixture.pack(), &cold, &freezing(stop, false), progress).unwrap_err()
        });
        assert!(Store::open(&cold, Config::new()).is_err(), "{bytes}");
        let resumed = freeze(
            &fixture.pack(),
            &cold,
            &freezing(Stop::default(), true),
            &|_| (),
        );
        assert_eq!(resumed.unwrap().columns_resumed > 0, bytes > 20_000);
        assert!(files(&cold) == files(&at("expected")), "{bytes}");
        // Once more, of what is finished.
        let resumed = freeze(
            &fixture.pack(),
            &cold,
            &freezing(Stop::default(), true),
            &|_| (),
        );
        assert_eq!(resumed.unwrap().columns_resumed, 8);

        let thawing = |stop, resume| ThawOptions {
            jobs: 1,
            resume,
            stop,
            ..ThawOptions::default()
        };
        stopped_after(bytes, |stop, progress| {
            thaw(&cold, &again, &thawing(stop, false), progress).unwrap_err()
        });
        assert!(Store::open(&again, Config::new()).is_err(), "{bytes}");
        let resumed = thaw(&cold, &again, &thawing(Stop::default(), true), &|_| ());
        assert_eq!(resumed.unwrap().shards_resumed > 0, bytes > 20_000);
        assert!(files(&again) == files(&fixture.pack()), "{bytes}");
        let resumed = thaw(&cold, &again, &thawing(Stop::default(), true), &|_| ());
        assert_eq!(resumed.unwrap().shards_resumed, 8);
    }
}

#[test]
fn another_level_does_not_go_on_with_what_was_begun() {
    let fixture = Fixture::new("deepseek");
    let cold = fixture.folder().join("cold");
    let options = |level, stop, resume| FreezeOptions {
        level,
        jobs: 1,
        stop,
        resume,
        ..FreezeOptions::default()
    };
    stopped_after(40_000, |stop, progress| {
        freeze(&fixture.pack(), &cold, &options(3, stop, false), progress).unwrap_err()
    });
    let refused = freeze(
        &fixture.pack(),
        &cold,
        &options(4, Stop::default(), true),
        &|_| (),
    );
    let said = refused.unwrap_err().to_string();
    assert!(
        said.contains("level=3") && said.contains("level=4"),
        "{said}"
    );
    for level in [0, 23] {
        let refused = freeze(
            &fixture.pack(),
            &cold,
            &options(level, Stop::default(), true),
            &|_| (),
        );
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("expected 1 to 22"), "{said}");
    }
}

/// The manifest of a pack.
fn manifest(pack: &Path) -> Manifest {
    read_manifest(pack).unwrap()
}

#[test]
fn a_cold_pack_is_of_version_3_and_says_what_it_needs() {
    let fixture = Fixture::new("deepseek");
    let cold = fixture.folder().join("cold");
    frozen(&fixture.pack(), &cold, SMALL_FRAMES);
    let text = fs::read_to_string(cold.join("manifest.json")).unwrap();
    assert!(text.ends_with("\"version\":3}\n"), "{text}");
    let (found, packed) = (manifest(&cold), manifest(&fixture.pack()));
    assert_eq!(found.tables, packed.tables);
    let Storage::Cold { tables } = &found.storage else {
        panic!("{:?}", found.storage);
    };
    // 51 records of 80 bytes to a block.
    assert_eq!(tables[0].frame_rows, 51);
    let sizes: Vec<u64> = tables[0].shards.iter().map(|shard| shard.bytes).collect();
    let names = ["2-head-0", "2-head-1", "3-head-0", "3-head-1"];
    let found: Vec<u64> = names
        .map(|name| {
            let path: PathBuf = cold.join(format!("layer-01/order-{name}.cold"));
            fs::metadata(path).unwrap().len()
        })
        .to_vec();
    assert_eq!(sizes, found);
    let batch = [RowId(0)];
    let store = Store::open(&cold, Config::new()).unwrap();
    store
        .check(Batch::new(store.scheme().layers[0].id, &batch))
        .unwrap();
}
