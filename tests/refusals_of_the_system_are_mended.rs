//! Systems that grant something and then refuse it: rings that cannot be entered, direct reads that are not served.
//! Rows come all the same, and the store says how.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use engram::{Config, Reader, Store};
use engram_checkpoint::Checkpoint;
use engram_io::{Fault, FaultIo, FaultPlan, FaultRule, SystemIo};
use engram_pack::attach;
use engram_tests::{Fixture, Fuse, alone, end, fork, open, refuse, whole_tables};

const DIRECT: [Reader; 2] = [Reader::Direct, Reader::DirectThreads];
/// What both are without a ring.
const BY_THREADS: &str = "pread, 32 threads";

/// The pack, and the rows that all ways must give.
fn fixture() -> (Fixture, Vec<Vec<u8>>) {
    let fixture = Fixture::new("deepseek");
    let rows = whole_tables(&open(&fixture.pack(), Reader::Memory));
    (fixture, rows)
}

/// Whether the system grants a ring, and the folder of `pack` direct reads.
fn has_ring_and_direct_reads(pack: &Path) -> bool {
    let backend = open(pack, Reader::Direct).backend().to_string();
    let has = backend.starts_with("io_uring") && !backend.contains("page cache");
    if !has {
        println!("skipped: a pack in a temporary folder is read by {backend}");
    }
    has
}

#[test]
fn a_ring_that_cannot_be_entered_is_not_used() {
    let _alone = alone();
    let (fixture, rows) = fixture();
    for code in [libc::EPERM, libc::ENOSYS, libc::EACCES] {
        match fork() {
            None => end(|| {
                refuse(libc::SYS_io_uring_enter, code);
                let store = open(&fixture.pack(), Reader::Direct);
                let backend = store.backend().to_string();
                assert!(backend.starts_with(BY_THREADS), "{backend}");
                assert!(whole_tables(&store) == rows);
            }),
            Some(child) => child.join(&format!("error {code}")),
        }
    }
}

#[test]
fn a_ring_that_is_refused_later_is_replaced_by_threads() {
    let _alone = alone();
    let (fixture, rows) = fixture();
    if !has_ring_and_direct_reads(&fixture.pack()) {
        return;
    }
    // By the system itself, in a process that locks itself in once its store is open.
    match fork() {
        None => end(|| {
            let store = open(&fixture.pack(), Reader::Direct);
            refuse(libc::SYS_io_uring_enter, libc::EPERM);
            assert!(whole_tables(&store) == rows);
        }),
        Some(child) => child.join("locked in"),
    }
    for threads in [1, 3] {
        let plan = FaultPlan::new(1, [FaultRule::every(1, Fault::RingRefused)]);
        plan.set_active(false);
        let io = Arc::new(FaultIo::new(Arc::new(SystemIo), plan.clone()));
        let config = Config::new().io(threads, 64).cache_bytes(0).file_access(io);
        let store = Store::open(fixture.pack(), config).unwrap();
        assert!(store.backend().to_string().starts_with("io_uring"));
        assert!(whole_tables(&store) == rows);
        plan.set_active(true);
        for _ in 0..3 {
            assert!(whole_tables(&store) == rows);
        }
        assert_eq!(store.backend().to_string(), BY_THREADS);
        assert_eq!(store.metrics().in_flight, 0);
    }
}

#[test]
fn direct_reads_that_are_refused_later_go_through_the_page_cache() {
    let _alone = alone();
    let (fixture, rows) = fixture();
    if !has_ring_and_direct_reads(&fixture.pack()) {
        return;
    }
    for reader in DIRECT {
        let rule = FaultRule::every(1, Fault::NotDirect).in_file("head-1");
        let plan = FaultPlan::new(1, [rule]);
        plan.set_active(false);
        let io = Arc::new(FaultIo::new(Arc::new(SystemIo), plan.clone()));
        let config = Config::new().reader(reader).cache_bytes(0).file_access(io);
        let store = Store::open(fixture.pack(), config).unwrap();
        assert!(whole_tables(&store) == rows);
        assert!(!store.backend().to_string().contains("page cache"));
        plan.set_active(true);
        for _ in 0..3 {
            assert!(whole_tables(&store) == rows);
        }
        let backend = store.backend().to_string();
        assert!(backend.ends_with("through the page cache"), "{backend}");
        assert!(plan.injected(Fault::NotDirect) > 0);
    }
}

#[test]
fn file_systems_that_processes_serve_are_read_by_threads() {
    let _alone = alone();
    let (fixture, rows) = fixture();
    let checkpoint = Checkpoint::open(&fixture.checkpoint(), None).unwrap();
    attach(&checkpoint, &fixture.folder().join("attached")).unwrap();
    let pack = fixture.pack();
    let pack = pack.strip_prefix(fixture.folder()).unwrap();
    let checkpoint = fixture.checkpoint();
    let checkpoint = checkpoint.strip_prefix(fixture.folder()).unwrap();
    for mode in ["plain", "einval", "openeinval", "short", "short512"] {
        let Some(fuse) = Fuse::serve(fixture.folder(), mode, &[]) else {
            return;
        };
        let path = |path: &Path| fuse.path(path.to_str().unwrap());
        for reader in DIRECT {
            let store = open(&path(pack), reader);
            assert!(whole_tables(&store) == rows, "{mode}");
            let expected = match mode {
                "plain" => BY_THREADS.to_owned(),
                _ => format!("{BY_THREADS}, through the page cache"),
            };
            assert_eq!(store.backend().to_string(), expected, "{mode}");
            let config = Config::new().reader(reader).checkpoint(path(checkpoint));
            let attached = Store::open(fixture.folder().join("attached"), config).unwrap();
            assert!(whole_tables(&attached) == rows, "{mode}");
        }
    }
}

#[test]
fn slow_file_systems_are_asked_for_many_things_at_a_time() {
    let _alone = alone();
    let (fixture, rows) = fixture();
    let environment = [("ASYNC_DIO", "0")];
    let pack = fixture.pack();
    let name = pack.strip_prefix(fixture.folder()).unwrap();
    // Each read takes 200 ms.
    let Some(fuse) = Fuse::serve(fixture.folder(), "slow", &environment) else {
        return;
    };
    let began = Instant::now();
    let store = open(&fuse.path(name.to_str().unwrap()), Reader::Direct);
    let shards = store
        .manifest()
        .tables
        .iter()
        .map(|table| table.shards.len());
    let shards: usize = shards.sum();
    let opened = began.elapsed();
    let began = Instant::now();
    assert!(whole_tables(&store) == rows);
    let read = began.elapsed();
    // A header and a trial read of each shard, one after another, take at least so long, and so do its rows.
    let one_by_one = Duration::from_millis(200) * u32::try_from(2 * shards).unwrap();
    println!("{shards} shards: opened in {opened:?}, read in {read:?}");
    assert!(opened < one_by_one, "opened in {opened:?}");
    assert!(read < one_by_one, "read in {read:?}");
}
