//! A process that is granted few threads, or none, opens its pack all the same. In a binary of its own, with one test:
//! the limit is one of the process.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use common::{all_rows, allow, copy_pack};
use engram::{Backend, Config, IoError, OpenError, Reader, Resident, Store};
use rustix::{
    process::{Resource, Uid, geteuid, getrlimit, setrlimit},
    thread::set_thread_res_uid,
};

/// Lets this thread's user have `threads` threads, and no process beside this one.
fn limit_threads(threads: u64) {
    let mut limit = getrlimit(Resource::Nproc);
    limit.current = Some(threads);
    setrlimit(Resource::Nproc, limit).unwrap();
}

#[test]
fn as_many_threads_as_are_granted_are_enough() {
    if !geteuid().is_root() {
        println!("skipped: only root can become a user who has no other process");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    allow(folder.path(), 0o755);
    let pack = folder.path().join("pack");
    copy_pack(&pack);
    // io_uring reads a memory file system by threads of the kernel's, which count as the user's.
    let memory = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
    allow(memory.path(), 0o755);
    let in_memory = memory.path().join("pack");
    copy_pack(&in_memory);
    let shared = folder.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    allow(&shared, 0o777);
    let profile = folder.path().join("profile");
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../../format-spec/vectors");
    std::fs::copy(format!("{vectors}/profiles/deepseek.profile"), &profile).unwrap();
    allow(&profile, 0o644);
    let expected = all_rows(&Store::open(&pack, Config::new()).unwrap()).unwrap();

    // Root may have any number of threads. This is a user whom nobody else is, in this thread and those it starts.
    let user = Uid::from_raw(54_000 + std::process::id() % 10_000);
    if set_thread_res_uid(user, user, user).is_err() {
        println!("skipped: this container has no other users");
        return;
    }
    limit_threads(1);
    assert!(
        thread::Builder::new().spawn(|| ()).is_err(),
        "the limit refuses threads"
    );
    let resident = Config::new()
        .reader(Reader::Pread)
        .resident(Resident::Orders(2));
    for config in [
        Config::new().reader(Reader::Memory),
        Config::new().reader(Reader::Mmap),
        Config::new().reader(Reader::Pread),
        resident.clone(),
        resident.resident_folder(&shared),
    ] {
        let store = Store::open(&pack, config.clone()).unwrap();
        assert!(all_rows(&store).unwrap() == expected, "{config:?}");
        store.check_resident(common::LAYER).unwrap();
    }
    for reader in [Reader::Direct, Reader::DirectThreads] {
        let refused = Store::open(&pack, Config::new().reader(reader)).unwrap_err();
        assert!(
            matches!(refused, OpenError::Io(IoError::NoThread { .. })),
            "{refused}"
        );
        let said = refused.to_string();
        assert!(said.contains("cannot start a thread that reads"), "{said}");
        assert!(said.contains("ulimit -u"), "{said}");
    }
    for granted in [1, 2, 5] {
        limit_threads(1 + granted);
        let config = Config::new().reader(Reader::DirectThreads);
        let store = opened_with(&pack, config.profile(&profile), granted);
        assert!(all_rows(&store).unwrap() == expected, "{granted}");
        // No thread is left to seed the cache: it begins empty, and the reason is said.
        let refused = store.wait_seeded().unwrap_err().to_string();
        assert!(refused.contains("that seeds the cache"), "{refused}");
        assert_eq!(store.metrics().seed_failures, 1);
        drop(store);
        for pack in [&pack, &in_memory] {
            let store = opened_with(pack, Config::new(), 1);
            assert!(all_rows(&store).unwrap() == expected, "{granted}");
        }
    }
}

/// Opens `pack` until `threads` threads read it: threads that have ended count for a while.
fn opened_with(pack: &Path, config: Config, threads: u64) -> Store {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let opened = Store::open(pack, config.clone());
        let found = match &opened {
            Ok(store) => store.backend().to_string(),
            Err(error) => error.to_string(),
        };
        if let Ok(store) = opened
            && let Backend::Direct { threads: found, .. } = store.backend()
            && found as u64 == threads
        {
            return store;
        }
        assert!(
            Instant::now() < deadline,
            "{found}, expected {threads} threads"
        );
        thread::sleep(Duration::from_millis(20));
    }
}
