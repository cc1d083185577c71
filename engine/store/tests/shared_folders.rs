//! Folders for resident columns and caches that processes of several users share.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;
#[path = "common/warnings.rs"]
mod warnings;

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
};

use common::{LAYER, all_rows, allow, copy_pack};
use engram::{
    Backing, Config, IoError, LookupError, OpenBacking, OpenError, Reader, Resident,
    SharedFileKind, Store, shared_files,
};
use rustix::{
    process::{Gid, Uid, geteuid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use warnings::Warnings;

const HEADER_BYTES: u64 = 4_096;

/// A pack, and a folder that its processes share, which everybody may write.
struct Fixture {
    root: tempfile::TempDir,
    expected: Vec<u8>,
}

impl Fixture {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        allow(root.path(), 0o755);
        copy_pack(&root.path().join("pack"));
        let shared = root.path().join("shared");
        fs::create_dir(&shared).unwrap();
        allow(&shared, 0o777);
        let store = Store::open(root.path().join("pack"), Config::new()).unwrap();
        let expected = all_rows(&store).unwrap();
        Self { root, expected }
    }

    fn pack(&self) -> PathBuf {
        self.root.path().join("pack")
    }

    fn shared(&self) -> PathBuf {
        self.root.path().join("shared")
    }

    fn copies(&self) -> Config {
        let config = Config::new().reader(Reader::Direct).cache_bytes(0);
        let config = config.resident(Resident::Orders(2));
        config.resident_folder(self.shared())
    }

    fn cache(&self) -> Config {
        let config = Config::new().reader(Reader::Direct).cache_bytes(1 << 20);
        config.cache_folder(self.shared())
    }

    fn open(&self, config: Config) -> Store {
        let store = Store::open(self.pack(), config).unwrap();
        assert!(all_rows(&store).unwrap() == self.expected);
        store
    }

    /// The files in the shared folder that end like this, in order.
    fn files(&self, end: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(self.shared()).unwrap();
        let files = files.map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files
            .filter(|path| path.to_str().unwrap().ends_with(end))
            .collect();
        files.sort();
        files
    }
}

/// Whether this process may become other users; says so if it may not.
fn can_be_others() -> bool {
    let can = geteuid().is_root() && thread::spawn(|| become_user(ONE).is_ok()).join().unwrap();
    if !can {
        println!("skipped: this process may not become another user");
    }
    can
}

/// Makes this thread one of the user with this number.
fn become_user(user: u32) -> rustix::io::Result<()> {
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(user));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)
}

/// Runs `work` in a thread of the user with this number.
fn as_user<R: Send>(user: u32, work: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            become_user(user).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

const ONE: u32 = 54_321;
const OTHER: u32 = 54_322;

#[test]
fn another_user_maps_the_copies_that_there_are() {
    if !can_be_others() {
        return;
    }
    let fixture = Fixture::new();
    as_user(ONE, || drop(fixture.open(fixture.copies())));
    // The other may write neither the folder nor the locks.
    allow(&fixture.shared(), 0o755);
    let before = fixture.files("").len();
    as_user(OTHER, || {
        let store = fixture.open(fixture.copies());
        let (_, columns) = store.resident_columns(LAYER).unwrap();
        assert_eq!(columns.len(), 2);
        assert!(columns.iter().all(|column| !column.is_private));
    });
    assert_eq!(fixture.files("").len(), before);
    // Nor is a lock needed to make one, where the folder may be written.
    allow(&fixture.shared(), 0o777);
    fs::remove_file(&fixture.files(".shard")[0]).unwrap();
    for lock in fixture.files(".lock") {
        allow(&lock, 0o600);
    }
    as_user(OTHER, || drop(fixture.open(fixture.copies())));
    // A copy that may not be read is an error that says what to do.
    allow(&fixture.files(".shard")[1], 0o600);
    let refused = as_user(OTHER, || {
        Store::open(fixture.pack(), fixture.copies()).unwrap_err()
    });
    assert!(
        matches!(refused, OpenError::UnusableCopy { .. }),
        "{refused}"
    );
    let said = refused.to_string();
    for part in ["Permission denied", "umask", ".shard as ", "order-2"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_missing_copy_that_cannot_be_made_says_what_to_do() {
    if !can_be_others() {
        return;
    }
    let fixture = Fixture::new();
    allow(&fixture.shared(), 0o755);
    let refused = as_user(OTHER, || {
        Store::open(fixture.pack(), fixture.copies()).unwrap_err()
    });
    assert!(
        matches!(refused, OpenError::UnusableCopy { .. }),
        "{refused}"
    );
    assert_eq!(fixture.files("").len(), 0);
}

#[test]
fn a_cache_that_may_not_be_shared_is_a_process_s_own() {
    if !can_be_others() {
        return;
    }
    let fixture = Fixture::new();
    let metrics = as_user(ONE, || fixture.open(fixture.cache()).metrics());
    assert!(metrics.cache_bytes > 0);
    assert_eq!(metrics.shared_cache_bytes, metrics.cache_bytes);
    let told = metrics.to_prometheus();
    assert!(told.contains(&format!(
        "engram_shared_cache_bytes {}\n",
        metrics.cache_bytes
    )));
    // By its umask, the first has kept the files to itself.
    let (metrics, said) = as_user(OTHER, || {
        Warnings::of(|| fixture.open(fixture.cache()).metrics())
    });
    assert!(metrics.cache_bytes > 0);
    assert_eq!(metrics.shared_cache_bytes, 0);
    let said = said.join("\n");
    for part in [
        "Permission denied",
        "cannot be shared",
        "umask",
        "group in common",
    ] {
        assert!(said.contains(part), "{said}");
    }
    // In a folder where everybody may write and nobody may remove what is another's, as /dev/shm, a file that all may
    // write is shared, also where Linux refuses to open it with O_CREAT (fs.protected_regular).
    allow(&fixture.shared(), 0o1777);
    for cache in fixture.files(".cache") {
        allow(&cache, 0o666);
    }
    for user in [OTHER, 0] {
        let metrics = as_user(user, || fixture.open(fixture.cache()).metrics());
        assert_eq!(metrics.shared_cache_bytes, metrics.cache_bytes, "{user}");
    }
}

#[test]
fn a_cache_file_that_was_cut_is_made_anew() {
    let fixture = Fixture::new();
    drop(fixture.open(fixture.cache()));
    let cache = &fixture.files(".cache")[0];
    let bytes = fs::metadata(cache).unwrap().len();
    let file = OpenOptions::new().write(true).open(cache).unwrap();
    file.set_len(bytes / 2).unwrap();
    let metrics = fixture.open(fixture.cache()).metrics();
    assert_eq!(metrics.shared_cache_bytes, metrics.cache_bytes);
    assert_eq!(fs::metadata(cache).unwrap().len(), bytes);
}

#[test]
fn a_damaged_copy_is_named_and_made_anew() {
    let fixture = Fixture::new();
    let store = fixture.open(fixture.copies());
    let copy = copy_of_first_column(&fixture, &store);
    let zero = |path: &Path, from: u64, bytes: usize| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&vec![0; bytes], from).unwrap();
    };
    // Seen when a row is looked up: the copy is to blame, and goes.
    zero(&copy, HEADER_BYTES, 66);
    let refused = all_rows(&store).unwrap_err();
    let LookupError::DamagedCopy { path, kept, .. } = &refused else {
        panic!("{refused}");
    };
    assert_eq!((path, kept.is_none()), (&copy, true));
    let said = refused.to_string();
    for part in ["which is not damaged", "it has been removed", "layer-01"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!copy.exists());
    drop(fixture.open(fixture.copies()));
    // One that has taken its place is left alone by who still has the old one.
    assert!(all_rows(&store).is_err());
    assert!(copy.exists());
    assert!(store.check_resident(LAYER).is_err());
    // Seen when it is opened.
    zero(&copy, 0, 100);
    drop(fixture.open(fixture.copies()));
    let file = OpenOptions::new().write(true).open(&copy).unwrap();
    file.set_len(5_000).unwrap();
    drop(fixture.open(fixture.copies()));
    // Where the shard is no better, it is the shard that is damaged.
    drop(store);
    let shard = fixture.pack().join("layer-01/order-2-head-0.shard");
    for path in [&copy, &shard] {
        zero(path, HEADER_BYTES, 66);
    }
    let store = Store::open(fixture.pack(), fixture.copies()).unwrap();
    let refused = all_rows(&store).unwrap_err();
    assert!(
        matches!(&refused, LookupError::Damaged { path, .. } if *path == shard),
        "{refused}"
    );
    assert!(copy.exists());
    zero(&shard, 0, 100);
    fs::remove_file(&copy).unwrap();
    let refused = Store::open(fixture.pack(), fixture.copies()).unwrap_err();
    assert!(
        matches!(&refused, OpenError::Format { path, .. } if *path == shard),
        "{refused}"
    );
    assert!(!copy.exists(), "a copy that was made is taken back");
}

#[test]
fn a_damaged_copy_of_another_user_is_named() {
    if !can_be_others() {
        return;
    }
    let fixture = Fixture::new();
    let copy = as_user(ONE, || {
        let store = fixture.open(fixture.copies());
        copy_of_first_column(&fixture, &store)
    });
    allow(&fixture.shared(), 0o755);
    let file = OpenOptions::new().write(true).open(&copy).unwrap();
    file.write_all_at(&[0; 66], HEADER_BYTES).unwrap();
    as_user(OTHER, || {
        let store = Store::open(fixture.pack(), fixture.copies()).unwrap();
        let refused = all_rows(&store).unwrap_err();
        let said = refused.to_string();
        assert!(
            matches!(refused, LookupError::DamagedCopy { kept: Some(_), .. }),
            "{said}"
        );
        assert!(
            said.contains("remove it, which failed here (Permission denied"),
            "{said}"
        );
    });
    file.write_all_at(&[0; 66], 0).unwrap();
    as_user(OTHER, || {
        let refused = Store::open(fixture.pack(), fixture.copies()).unwrap_err();
        let said = refused.to_string();
        assert!(matches!(refused, OpenError::DamagedCopy { .. }), "{said}");
        assert!(said.contains("cannot be made anew"), "{said}");
        assert!(said.starts_with(copy.to_str().unwrap()), "{said}");
    });
}

fn copy_of_first_column(fixture: &Fixture, store: &Store) -> PathBuf {
    let digest = store.manifest().tables[0].shards[0].data;
    fixture.shared().join(format!("engram-{digest}.shard"))
}

#[derive(Debug)]
struct NoBacking;

impl OpenBacking for NoBacking {
    fn open(&self, _: &[PathBuf], _: usize) -> Result<Arc<dyn Backing>, IoError> {
        Err(IoError::system("open the backing of this test")(
            std::io::ErrorKind::NotFound.into(),
        ))
    }
}

#[test]
fn what_a_failed_open_has_made_is_taken_back() {
    let fixture = Fixture::new();
    let config = fixture.copies().backing(Arc::new(NoBacking));
    assert!(Store::open(fixture.pack(), config.clone()).is_err());
    assert_eq!(fixture.files(".shard").len(), 0);
    // What was there before stays.
    drop(fixture.open(fixture.copies()));
    assert!(Store::open(fixture.pack(), config).is_err());
    assert_eq!(fixture.files(".shard").len(), 4);
}

#[test]
fn copies_whose_making_was_interrupted_go_with_the_next() {
    let fixture = Fixture::new();
    let shared = fixture.shared();
    let write = |name: &str| {
        let path = shared.join(name);
        fs::write(&path, b"half").unwrap();
        path
    };
    let manifest = engram::read_manifest(fixture.pack()).unwrap();
    let mine = manifest.tables[0].shards[0].data;
    let [dead, alive] = ["0123456789abcdef", "fedcba9876543210"].map(|half| half.repeat(2));
    let of_dead = [
        write(&format!("engram-{mine}.shard.partial")),
        write(&format!("engram-{mine}.shard.0000000000000001.partial")),
        write(&format!("engram-{dead}.shard.0000000000000002")),
    ];
    write(&format!("engram-{dead}.lock"));
    let of_alive = write(&format!("engram-{alive}.shard.0000000000000003.partial"));
    let lock = File::open(write(&format!("engram-{alive}.lock"))).unwrap();
    lock.lock().unwrap();
    let other = write("notes.shard.partial");
    drop(fixture.open(fixture.copies()));
    assert!(of_dead.iter().all(|path| !path.exists()));
    assert!(of_alive.exists() && other.exists());
}

#[test]
fn shared_files_can_be_seen_and_removed() {
    let fixture = Fixture::new();
    let store = fixture.open(
        fixture
            .copies()
            .cache_folder(fixture.shared())
            .cache_bytes(1 << 20),
    );
    fs::write(fixture.shared().join("notes"), b"of another").unwrap();
    let digest = "0123456789abcdef".repeat(2);
    let of_others = fixture.shared().join(format!("engram-{digest}.shard"));
    fs::write(&of_others, b"copy").unwrap();
    let files = shared_files(fixture.shared()).unwrap();
    let count = |kind| files.iter().filter(|file| file.kind == kind).count();
    assert_eq!(count(SharedFileKind::ResidentColumn), 5);
    assert_eq!(count(SharedFileKind::Cache), 2);
    assert_eq!(count(SharedFileKind::Lock), 4);
    assert_eq!(files.len(), 11);
    for file in &files {
        let is_other = file.path == of_others;
        assert_eq!(file.belongs_to(store.manifest()), !is_other, "{file:?}");
        assert_eq!(file.bytes, fs::metadata(&file.path).unwrap().len());
        let used = file.kind != SharedFileKind::Lock && !is_other;
        if used {
            assert_eq!(file.in_use, Some(true), "{file:?}");
        } else {
            // Only root sees that no process uses it.
            assert_ne!(file.in_use, Some(true), "{file:?}");
        }
        assert_eq!(file.digest == digest, is_other);
    }
    drop(store);
    for file in shared_files(fixture.shared()).unwrap() {
        assert_ne!(file.in_use, Some(true), "{file:?}");
        if file.path == of_others {
            file.remove().unwrap();
            assert!(file.remove().is_err());
        }
    }
    assert!(!of_others.exists());
    assert!(shared_files(fixture.root.path().join("missing")).is_err());
}

/// Where the tests that follow have their fixture.
const ROOT: &str = "ENGRAM_TEST_ROOT";

/// Runs the ignored test `name` in a mount namespace of its own, in which `mounts` was run by a shell in the fixture's
/// root.
fn in_namespace(fixture: &Fixture, mounts: &str, name: &str) {
    let shell = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script]);
        command.current_dir(fixture.root.path());
        command.env(ROOT, fixture.root.path());
        command
    };
    let mounted = shell(mounts).status().is_ok_and(|status| status.success());
    if !mounted {
        println!("skipped: no file system can be mounted here");
        return;
    }
    let exe = std::env::current_exe().unwrap();
    let status = shell(&format!("{mounts} && exec \"$0\" --ignored --exact {name}"))
        .arg(exe)
        .status()
        .unwrap();
    assert!(status.success(), "{name}");
}

fn fixture_of_parent() -> Option<(PathBuf, Config)> {
    let root = PathBuf::from(std::env::var_os(ROOT)?);
    let config = Config::new().reader(Reader::Direct);
    Some((root.join("pack"), config))
}

#[test]
fn copies_on_a_read_only_file_system_are_mapped() {
    let fixture = Fixture::new();
    drop(fixture.open(fixture.copies()));
    drop(fixture.open(fixture.cache()));
    in_namespace(
        &fixture,
        "mount --bind shared shared && mount -o remount,bind,ro shared",
        "child_on_a_read_only_file_system",
    );
}

/// No test: a process to which the shared folder is read-only.
#[test]
#[ignore = "runs in a mount namespace"]
fn child_on_a_read_only_file_system() {
    let Some((pack, config)) = fixture_of_parent() else {
        return;
    };
    let shared = pack.with_file_name("shared");
    assert!(fs::write(shared.join("new"), b"").is_err());
    let config = config.resident_folder(&shared).cache_folder(&shared);
    let copies = config.clone().resident(Resident::Orders(2));
    let (store, said) = Warnings::of(|| Store::open(&pack, copies.cache_bytes(1 << 20)).unwrap());
    all_rows(&store).unwrap();
    let metrics = store.metrics();
    assert!(metrics.cache_bytes > 0 && metrics.shared_cache_bytes == 0);
    let said = said.join("\n");
    assert!(said.contains("Read-only file system"), "{said}");
    // Of the columns of three tokens there are no copies.
    let refused = Store::open(&pack, config.resident(Resident::Orders(3))).unwrap_err();
    assert!(
        matches!(refused, OpenError::UnusableCopy { .. }),
        "{refused}"
    );
}

#[test]
fn all_space_is_asked_for_before_the_first_copy() {
    let fixture = Fixture::new();
    in_namespace(
        &fixture,
        "mount -t tmpfs -o size=64k,mode=755 none shared",
        "child_with_little_space",
    );
}

/// No test: a process with 64 KiB in the shared folder.
#[test]
#[ignore = "runs in a mount namespace"]
fn child_with_little_space() {
    let Some((pack, config)) = fixture_of_parent() else {
        return;
    };
    let shared = pack.with_file_name("shared");
    let config = config.resident_folder(&shared).cache_folder(&shared);
    let columns = config.clone().cache_bytes(0).resident(Resident::Orders(3));
    let caches = config.clone().cache_bytes(100_000);
    // Columns of two tokens fit, and a cache fits, but not both.
    let both = config.cache_bytes(40_000).resident(Resident::Orders(2));
    for config in [columns, caches.clone(), both.clone()] {
        let refused = Store::open(&pack, config).unwrap_err();
        let OpenError::NoSpace { needed, free, .. } = refused else {
            panic!("{refused}");
        };
        assert_eq!(free, 65_536);
        assert!((65_537..110_000).contains(&needed), "{needed}");
        let said = refused.to_string();
        let expected = format!("needs {needed} bytes more");
        assert!(
            said.contains(&expected) && said.contains("has 65536 free"),
            "{said}"
        );
        assert_eq!(fs::read_dir(&shared).unwrap().count(), 0, "{said}");
    }
    // Who may not write there needs no space.
    if can_be_others() {
        let own = as_user(OTHER, || Store::open(&pack, caches).unwrap().metrics());
        assert!(own.cache_bytes > 0 && own.shared_cache_bytes == 0);
    }
    let store = Store::open(&pack, both.clone().cache_bytes(10_000)).unwrap();
    all_rows(&store).unwrap();
    // What is there already needs no space.
    let again = Store::open(&pack, both.cache_bytes(10_000)).unwrap();
    all_rows(&again).unwrap();
}
