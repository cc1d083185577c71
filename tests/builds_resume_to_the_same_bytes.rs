//! A build that stopped anywhere goes on and ends with the bytes of one that did not.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

use anyhow::Result;
use engram::{Config, OpenError, Store};
use engram_checkpoint::Checkpoint;
use engram_pack::{BuildOptions, BuildReport, build};
use engram_tests::{Fixture, files, make_checkpoint, small_family};

const SHARDS: usize = 8;
const STATE: &str = "build.unfinished";

fn run(checkpoint: &Path, pack: &Path, resume: bool) -> Result<BuildReport> {
    let checkpoint = Checkpoint::open(checkpoint, None)?;
    let options = BuildOptions {
        resume,
        ..BuildOptions::default()
    };
    build(&checkpoint, pack, &options, &|_| ())
}

/// What a build that was killed leaves: its mark, some shards, and a part of the next.
fn half_built(fixture: &Fixture, finished: usize) -> PathBuf {
    let pack = fixture.folder().join(format!("half-{finished}"));
    // A build of a checkpoint that vanishes under it leaves its mark without any shard.
    let checkpoint = Checkpoint::open(&fixture.checkpoint(), None).unwrap();
    let tensors = fixture
        .checkpoint()
        .join("model-00001-of-00002.safetensors");
    let away = fixture.folder().join("away");
    fs::rename(&tensors, &away).unwrap();
    let failed = build(&checkpoint, &pack, &BuildOptions::default(), &|_| ()).unwrap_err();
    fs::rename(&away, &tensors).unwrap();
    assert!(
        format!("{failed:#}").contains("run it again with --resume"),
        "{failed:#}"
    );
    assert!(format!("{failed:#}").contains("cannot open"), "{failed:#}");

    let shards = files(&fixture.pack())
        .into_iter()
        .filter(|(name, _)| name.extension().is_some_and(|e| e == "shard"));
    for (index, (name, bytes)) in shards.enumerate() {
        let path = pack.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if index < finished {
            fs::write(path, bytes).unwrap();
        } else if index == finished {
            fs::write(
                path.with_extension("shard.partial"),
                &bytes[..bytes.len() / 2],
            )
            .unwrap();
        }
    }
    pack
}

fn other(fixture: &Fixture) -> PathBuf {
    let other = fixture.folder().join("other");
    make_checkpoint(&small_family("longcat"), 1, &other);
    other
}

#[test]
fn from_any_number_of_finished_shards() {
    let fixture = Fixture::new("deepseek");
    let expected = files(&fixture.pack());
    for finished in 0..=SHARDS {
        let pack = half_built(&fixture, finished);
        let refused = Store::open(&pack, Config::new());
        assert!(
            matches!(refused, Err(OpenError::NotAPack { .. })),
            "{refused:?}"
        );
        let report = run(&fixture.checkpoint(), &pack, true).unwrap();
        assert_eq!((report.shards, report.shards_resumed), (SHARDS, finished));
        assert!(files(&pack) == expected, "{finished} shards");
    }
}

#[test]
fn after_the_manifest_was_written() {
    let fixture = Fixture::new("deepseek");
    let expected = files(&fixture.pack());
    let pack = half_built(&fixture, SHARDS);
    fs::copy(
        fixture.pack().join("manifest.json"),
        pack.join("manifest.json"),
    )
    .unwrap();
    assert_eq!(
        run(&fixture.checkpoint(), &pack, true)
            .unwrap()
            .shards_resumed,
        SHARDS
    );
    assert!(files(&pack) == expected);
}

#[test]
fn before_the_mark_was_whole() {
    let fixture = Fixture::new("deepseek");
    let pack = half_built(&fixture, 0);
    let mark = fs::read(pack.join(STATE)).unwrap();
    fs::write(pack.join(STATE), &mark[..5]).unwrap();
    // Stopped again, it must have left a mark that the next build knows.
    let checkpoint = Checkpoint::open(&fixture.checkpoint(), None).unwrap();
    let stop = |_| panic!("stopped");
    let options = BuildOptions {
        resume: true,
        ..BuildOptions::default()
    };
    let stopped = catch_unwind(|| build(&checkpoint, &pack, &options, &stop));
    assert!(stopped.is_err());
    assert_eq!(fs::read(pack.join(STATE)).unwrap(), mark);
    run(&fixture.checkpoint(), &pack, true).unwrap();
    assert!(files(&pack) == files(&fixture.pack()));
}

#[test]
fn when_it_is_finished_already() {
    let fixture = Fixture::new("deepseek");
    let expected = files(&fixture.pack());
    let report = run(&fixture.checkpoint(), &fixture.pack(), true).unwrap();
    assert_eq!((report.shards_resumed, report.bytes_written), (SHARDS, 0));
    assert!(files(&fixture.pack()) == expected);
}

#[test]
fn never_with_stricter_options() {
    let fixture = Fixture::new("deepseek");
    let pack = half_built(&fixture, 2);
    let mark = fs::read_to_string(pack.join(STATE)).unwrap();
    fs::write(pack.join(STATE), mark.replace('\n', " allow-nan\n")).unwrap();
    let refused = run(&fixture.checkpoint(), &pack, true).unwrap_err();
    assert!(
        refused.to_string().contains("or of other options"),
        "{refused}"
    );
}

#[test]
fn only_when_asked() {
    let fixture = Fixture::new("deepseek");
    let pack = half_built(&fixture, 2);
    let refused = run(&fixture.checkpoint(), &pack, false)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("holds an unfinished build; go on with it by --resume"),
        "{refused}"
    );
    for (checkpoint, resume) in [(fixture.checkpoint(), false), (other(&fixture), true)] {
        let refused = run(&checkpoint, &fixture.pack(), resume)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("is a finished pack already"), "{refused}");
    }
    let refused = run(&fixture.checkpoint(), &fixture.checkpoint(), false)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("is not empty"), "{refused}");
}

#[test]
fn never_with_another_checkpoint() {
    let fixture = Fixture::new("deepseek");
    let pack = half_built(&fixture, 2);
    let refused = run(&other(&fixture), &pack, true).unwrap_err().to_string();
    assert!(refused.contains("is of another checkpoint"), "{refused}");
}

#[test]
fn never_beside_another_build() {
    let fixture = Fixture::new("deepseek");
    let pack = half_built(&fixture, 2);
    let held = fs::File::open(pack.join(STATE)).unwrap();
    held.lock().unwrap();
    let refused = run(&fixture.checkpoint(), &pack, true)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("another build of"), "{refused}");
}

#[test]
fn never_over_a_shard_of_something_else() {
    let fixture = Fixture::new("deepseek");
    let pack = half_built(&fixture, 2);
    let shard = |name: &str| pack.join("layer-01").join(name);
    fs::copy(shard("order-2-head-0.shard"), shard("order-2-head-1.shard")).unwrap();
    let refused = format!("{:#}", run(&fixture.checkpoint(), &pack, true).unwrap_err());
    assert!(
        refused.contains("is no shard of this build; remove it"),
        "{refused}"
    );
    assert!(
        refused.contains("column is 0, the manifest says 1"),
        "{refused}"
    );
    fs::write(shard("order-2-head-1.shard"), b"short").unwrap();
    let refused = format!("{:#}", run(&fixture.checkpoint(), &pack, true).unwrap_err());
    assert!(refused.contains("remove it: size is 5"), "{refused}");
}
