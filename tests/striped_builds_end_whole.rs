//! A build into several folders ends whole, goes on where it was stopped, and leaves the stripes of others alone.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    fs::{self, File},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::Result;
use engram::Reader;
use engram_checkpoint::Checkpoint;
use engram_pack::{BuildOptions, BuildReport, build};
use engram_tests::{Fixture, files, make_checkpoint, open, small_family, whole_tables};

const MARK: &str = "build.unfinished";

/// A checkpoint, and where a pack of it and its stripes are to be.
struct Job {
    fixture: Fixture,
    checkpoint: PathBuf,
    pack: PathBuf,
    stripes: Vec<PathBuf>,
}

impl Job {
    fn new() -> Self {
        let fixture = Fixture::new("deepseek");
        let at = |name: &str| fixture.folder().join(name);
        Self {
            checkpoint: fixture.checkpoint(),
            pack: at("striped"),
            stripes: vec![at("a/stripe"), at("b/stripe")],
            fixture,
        }
    }

    fn run(&self, resume: bool) -> Result<BuildReport> {
        self.run_until(resume, &|_| ())
    }

    fn run_until(&self, resume: bool, progress: &(dyn Fn(u64) + Sync)) -> Result<BuildReport> {
        let checkpoint = Checkpoint::open(&self.checkpoint, None)?;
        let options = BuildOptions {
            jobs: 1,
            resume,
            stripes: self.stripes.clone(),
            ..BuildOptions::default()
        };
        build(&checkpoint, &self.pack, &options, progress)
    }

    /// Stops as soon as `shards` shards are finished; what is open is left as a kill leaves it.
    fn stop_after(&self, shards: usize) {
        let begun = AtomicUsize::new(0);
        let stop = |_| {
            assert!(begun.fetch_add(1, Ordering::Relaxed) < shards, "stopped");
        };
        catch_unwind(AssertUnwindSafe(|| self.run_until(false, &stop))).unwrap_err();
    }

    fn is_whole(&self) -> bool {
        let expected = whole_tables(&open(&self.fixture.pack(), Reader::Pread));
        let folders = self.stripes.iter().chain([&self.pack]);
        let left = folders
            .flat_map(|folder| files(folder))
            .filter(|(name, _)| {
                let kind = name.extension().and_then(|kind| kind.to_str());
                matches!(kind, Some("unfinished" | "partial"))
            });
        left.count() == 0 && whole_tables(&open(&self.pack, Reader::Direct)) == expected
    }
}

fn refusal(refused: Result<BuildReport>) -> String {
    format!("{:#}", refused.unwrap_err())
}

#[test]
fn from_any_number_of_finished_shards() {
    for shards in 0..8 {
        let job = Job::new();
        job.stop_after(shards);
        assert!(!job.pack.join("manifest.json").exists());
        if shards > 0 {
            let refused = refusal(job.run(false));
            assert!(refused.contains("go on with it by --resume"), "{refused}");
        }
        let report = job.run(true).unwrap();
        assert_eq!((report.shards, report.shards_resumed), (8, shards));
        assert!(job.is_whole(), "{shards} shards");
    }
}

#[test]
fn with_the_same_stripes_or_not_at_all() {
    let mut job = Job::new();
    job.stop_after(3);
    job.stripes.swap(0, 1);
    let refused = refusal(job.run(true));
    assert!(refused.contains("other options"), "{refused}");
    let third = job.fixture.folder().join("c/stripe");
    job.stripes = vec![job.stripes[1].clone(), third.clone()];
    let refused = refusal(job.run(true));
    assert!(refused.contains("other options"), "{refused}");
    assert!(!third.exists(), "a folder that nothing came to");
    job.stripes[1] = job.fixture.folder().join("b/stripe");
    job.run(true).unwrap();
    assert!(job.is_whole());
    let third = [third];
    job.stripes.splice(1.., third);
    let refused = refusal(job.run(true));
    assert!(refused.contains("with other stripes"), "{refused}");
}

#[test]
fn marks_that_a_killed_build_left_in_stripes_are_removed() {
    let job = Job::new();
    // Written before its first shard, the mark says what the build is of.
    job.stop_after(1);
    let mark = fs::read(job.pack.join(MARK)).unwrap();
    job.run(true).unwrap();
    fs::write(job.stripes[1].join(MARK), mark).unwrap();
    assert!(!job.is_whole());
    job.run(true).unwrap();
    assert!(job.is_whole());
}

#[test]
fn two_jobs_do_not_share_a_stripe() {
    let mut job = Job::new();
    fs::create_dir_all(&job.stripes[1]).unwrap();
    let mark = File::create(job.stripes[1].join(MARK)).unwrap();
    mark.lock().unwrap();
    let refused = refusal(job.run(false));
    let stripe = job.stripes[1].display();
    assert!(
        refused.contains(&format!("another build of {stripe} is running")),
        "{refused}"
    );
    // Nothing was begun in the others.
    assert!(!job.pack.exists() && !job.stripes[0].exists());
    drop(mark);
    job.run(false).unwrap();
    assert!(job.is_whole());
    // The stripes of a pack are no folders for another one, nor is the pack itself.
    let pack = std::mem::replace(&mut job.pack, job.fixture.folder().join("second"));
    for resume in [false, true] {
        let refused = refusal(job.run(resume));
        assert!(refused.ends_with("stripe is not empty"), "{refused}");
        assert!(!job.pack.exists());
    }
    job.stripes = vec![pack];
    let refused = refusal(job.run(false));
    assert!(refused.contains("is a finished pack already"), "{refused}");
}

#[test]
fn the_unfinished_stripes_of_another_pack_are_left_alone() {
    let job = Job::new();
    job.stop_after(4);
    let before: Vec<_> = job.stripes.iter().map(|stripe| files(stripe)).collect();
    let other = Job {
        checkpoint: job.fixture.folder().join("other"),
        pack: job.fixture.folder().join("other-pack"),
        stripes: job.stripes.clone(),
        fixture: Fixture::new("longcat"),
    };
    make_checkpoint(&small_family("longcat"), 1, &other.checkpoint);
    for resume in [false, true] {
        let refused = refusal(other.run(resume));
        assert!(refused.contains("unfinished build"), "{refused}");
        assert!(!other.pack.exists());
    }
    let names =
        |all: &[(PathBuf, Vec<u8>)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    for (stripe, before) in job.stripes.iter().zip(&before) {
        assert_eq!(names(&files(stripe)), names(before));
    }
    job.run(true).unwrap();
    assert!(job.is_whole());
}

#[test]
fn folders_that_would_get_into_each_others_way_are_refused() {
    let mut job = Job::new();
    let root = job.fixture.folder().to_owned();
    let given = |names: &[&str]| names.iter().map(|name| root.join(name)).collect::<Vec<_>>();
    let cases: [(Vec<PathBuf>, &str); 6] = [
        (given(&["a", "a"]), "given twice"),
        (given(&["a", "a/b/../../a"]), "cannot find"),
        (given(&["a", "a/b"]), "one lies in the other"),
        (given(&["a/b", "a"]), "one lies in the other"),
        (given(&["."]), "one lies in the other"),
        (
            (0..9).map(|n| root.join(n.to_string())).collect(),
            "9 stripes for 8 columns",
        ),
    ];
    for (stripes, expected) in cases {
        job.stripes = stripes;
        let refused = refusal(job.run(false));
        assert!(refused.contains(expected), "{refused}");
        assert!(!job.pack.exists() && !root.join("a").exists());
    }
    // What leads back is resolved, so the pack's own folder is known by any name.
    fs::create_dir_all(root.join("a")).unwrap();
    job.stripes = given(&["a/../striped", "a/../b"]);
    job.run(false).unwrap();
    assert!(job.is_whole());
    let recorded = engram::read_manifest(&job.pack).unwrap().stripes.unwrap();
    let outside = Path::new(&recorded.folders[1]);
    assert_eq!(
        (&*recorded.folders[0], outside),
        (".", &*fs::canonicalize(root).unwrap().join("b"))
    );
}
