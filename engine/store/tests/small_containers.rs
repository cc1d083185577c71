//! A container with less memory than the default cache is no reason to be killed.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;
#[path = "common/warnings.rs"]
mod warnings;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use common::{all_rows, copy_pack};
use engram::{Config, Store};
use warnings::Warnings;

const MIB: usize = 1 << 20;
const LIMIT: usize = 200 * MIB;
/// What the test tells the process in the container.
const PACK: &str = "ENGRAM_TEST_PACK";
const CACHE_BYTES: &str = "ENGRAM_TEST_CACHE_BYTES";
const CACHE_FOLDER: &str = "ENGRAM_TEST_CACHE_FOLDER";

/// A control group whose processes may have [`LIMIT`] bytes together.
struct Container(PathBuf);

impl Container {
    /// None where this process may not make one.
    fn new() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = |wanted: &dyn Fn(&str) -> bool| {
            groups.lines().find_map(|line| {
                let (_, group) = line.split_once(':')?;
                let (controllers, path) = group.split_once(':')?;
                wanted(controllers).then_some(path.trim_start_matches('/'))
            })
        };
        let v1 = path(&|controllers| controllers.split(',').any(|name| name == "memory"));
        let v2 = path(&str::is_empty);
        let candidates = [
            ("/sys/fs/cgroup/memory", v1, "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", v2, "memory.max"),
        ];
        candidates.into_iter().find_map(|(mount, path, limit)| {
            let name = format!("engram-test-{}", std::process::id());
            let folder = Path::new(mount).join(path?).join(name);
            fs::create_dir(&folder).ok()?;
            let container = Self(folder);
            let limited = fs::write(container.0.join(limit), LIMIT.to_string());
            limited.is_ok().then_some(container)
        })
    }

    /// Runs the test `child_in_a_container` in it.
    fn run(&self, environment: &[(&str, &Path)]) -> Output {
        let procs = self.0.join("cgroup.procs");
        Command::new("sh")
            .args(["-c", r#"echo $$ > "$0" && exec "$@""#])
            .arg(procs)
            .arg(env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "child_in_a_container",
                "--nocapture",
            ])
            .envs(environment.iter().copied())
            .output()
            .unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// No test: the process in the container.
#[test]
#[ignore = "runs in a container"]
fn child_in_a_container() {
    let Some(pack) = env::var_os(PACK) else {
        return;
    };
    let mut config = Config::new();
    if let Some(bytes) = env::var_os(CACHE_BYTES) {
        config = config.cache_bytes(bytes.into_string().unwrap().parse().unwrap());
    }
    if let Some(folder) = env::var_os(CACHE_FOLDER) {
        config = config.cache_folder(folder);
    }
    let (store, said) = Warnings::of(|| Store::open(pack, config).unwrap());
    all_rows(&store).unwrap();
    // Until the thread that takes the memory has had time to take all of it.
    std::thread::sleep(Duration::from_secs(2));
    all_rows(&store).unwrap();
    println!("cache {}", store.metrics().cache_bytes);
    println!("said {said:?}");
}

#[test]
fn a_default_cache_fits_a_container() {
    let Some(container) = Container::new() else {
        println!("skipped: no control group with a limit of memory can be made here");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("pack");
    copy_pack(&pack);
    let shared = folder.path().join("shared");
    let explicit = (256 * MIB).to_string();
    let explicit = (CACHE_BYTES, Path::new(&explicit));
    for (name, more, most) in [
        ("default", vec![], LIMIT / 4),
        ("shared", vec![(CACHE_FOLDER, &*shared)], LIMIT / 4),
        ("explicit", vec![explicit], 256 * MIB),
    ] {
        let mut environment = vec![(PACK, &*pack)];
        environment.extend(&more);
        let output = container.run(&environment);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {}, {said}", output.status);
        let cache = said.lines().find_map(|line| line.strip_prefix("cache "));
        let cache: usize = cache.unwrap().parse().unwrap();
        assert!((most / 2..=most).contains(&cache), "{name}: {cache}");
        let warned = said.contains(&format!("cache_bytes={}", 256 * MIB))
            && said.contains(&format!("limit_bytes={LIMIT}"));
        assert_eq!(warned, name == "explicit", "{said}");
    }
}

#[test]
fn what_the_machine_has_not_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("pack");
    copy_pack(&pack);
    // No page of it is touched, and far too much is not taken ahead.
    let config = Config::new().cache_bytes(1 << 40);
    let (store, said) = Warnings::of(|| Store::open(&pack, config));
    let warned = said.iter().any(|warning| {
        warning.contains("cache_bytes=1099511627776") && warning.contains("available_bytes=")
    });
    assert!(warned, "{said:?}");
    match store {
        Ok(store) => drop(all_rows(&store).unwrap()),
        Err(error) => println!("without the rows: {error}"),
    }
}
