//! A process that is granted no thread does its work with the one it has. In a binary of its own: the limit is one of
//! the process.

use std::thread;

use engram_io::parallel;
use rustix::process::{Resource, getrlimit, setrlimit};

#[test]
fn work_is_done_without_threads() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let size = status
        .lines()
        .find_map(|line| line.strip_prefix("VmSize:"))
        .unwrap();
    let kibibytes: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
    let limit = getrlimit(Resource::As);
    let mut tight = limit;
    // Less than the stack of a thread.
    tight.current = Some((kibibytes + 256) << 10);
    setrlimit(Resource::As, tight).unwrap();
    let spawned = thread::Builder::new().spawn(|| ());
    let items: Vec<usize> = (0..100).collect();
    let done = parallel::map(8, &items, |&n| Ok::<_, ()>((n, thread::current().id())));
    setrlimit(Resource::As, limit).unwrap();
    assert!(spawned.is_err(), "the limit refuses threads");
    let own = thread::current().id();
    let expected: Vec<_> = items.iter().map(|&n| (n, own)).collect();
    assert_eq!(done.unwrap(), expected);
}
