//! Two jobs on one folder or file, and what a job that was killed leaves there.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use common::{Folder, PROGRAM, fails, ok, run_after, text};

const MARK: &str = "build.unfinished";

/// A checkpoint in `folder`, and the path of a pack beside it.
fn checkpoint(folder: &Folder) -> [String; 2] {
    let checkpoint = folder.synth("deepseek-v4.1-flash", "checkpoint");
    [checkpoint, folder.at("pack")]
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn a_job_that_runs_is_named_before_anything_is_advised() {
    let folder = Folder::new();
    let [checkpoint, pack] = &checkpoint(&folder);
    fs::create_dir(pack).unwrap();
    let mark = Path::new(pack).join(MARK);
    for (text, process) in [("", ""), ("plan\nprocess 77\n", " (process 77)")] {
        fs::write(&mark, text).unwrap();
        let held = fs::File::open(&mark).unwrap();
        held.lock().unwrap();
        let expected = format!("error: another build of {pack} is running{process}\n");
        for job in [&["build"][..], &["build", "--resume"], &["attach"]] {
            assert_eq!(fails(&[job, &[checkpoint, "-o", pack]].concat()), expected);
        }
    }
    // Nothing was begun, so nothing need be resumed.
    ok(&["build", checkpoint, "-o", pack]);
    ok(&["verify", pack]);
}

#[test]
fn of_builds_at_once_one_does_the_work() {
    let folder = Folder::new();
    let [checkpoint, pack] = &checkpoint(&folder);
    let jobs: Vec<_> = (0..4)
        .map(|_| {
            let mut job = Command::new(PROGRAM);
            job.args(["build", checkpoint, "-o", pack]);
            job.stderr(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let outputs: Vec<_> = jobs
        .into_iter()
        .map(|job| job.wait_with_output().unwrap())
        .collect();
    let done = outputs
        .iter()
        .filter(|output| output.status.success())
        .count();
    assert_eq!(done, 1, "{outputs:?}");
    for output in outputs.iter().filter(|output| !output.status.success()) {
        let said = text(&output.stderr);
        let expected = ["another build of", "is a finished pack already"];
        assert!(expected.iter().any(|words| said.contains(words)), "{said}");
    }
    ok(&["verify", pack]);
}

#[test]
fn what_a_killed_attach_leaves_is_taken_up() {
    let folder = Folder::new();
    let [checkpoint, pack] = &checkpoint(&folder);
    for leavings in [
        &[MARK][..],
        &[MARK, "token_map.u32le.partial"],
        &[MARK, "token_map.u32le", "manifest.json.partial"],
        &[MARK, "token_map.u32le", "manifest.json"],
    ] {
        for job in ["attach", "build"] {
            fs::create_dir(pack).unwrap();
            for name in leavings {
                fs::write(Path::new(pack).join(name), "x").unwrap();
            }
            ok(&[job, checkpoint, "-o", pack]);
            ok(&["verify", pack]);
            assert!(!names(Path::new(pack)).contains(&MARK.to_owned()));
            fs::remove_dir_all(pack).unwrap();
        }
    }
}

#[test]
fn an_attach_killed_at_any_time_can_be_done_again() {
    let folder = Folder::new();
    let [checkpoint, pack] = &checkpoint(&folder);
    for wait in (0..).map(|turn| Duration::from_millis(10 * turn)) {
        let mut job = Command::new(PROGRAM);
        let job = job
            .args(["attach", checkpoint, "-o", pack])
            .stdout(Stdio::null());
        let mut job = job.spawn().unwrap();
        sleep(wait);
        if job.try_wait().unwrap().is_some() {
            break;
        }
        job.kill().unwrap();
        job.wait().unwrap();
        let found = if Path::new(pack).is_dir() {
            names(Path::new(pack))
        } else {
            Vec::new()
        };
        if found.iter().any(|name| name == "manifest.json") && found.iter().all(|name| name != MARK)
        {
            break;
        }
        ok(&["attach", checkpoint, "-o", pack]);
        fs::remove_dir_all(pack).unwrap();
    }
}

#[test]
fn an_attach_that_fails_leaves_nothing() {
    let folder = Folder::new();
    let [checkpoint, pack] = &checkpoint(&folder);
    // A limit that the token map of half a million bytes passes.
    let job = run_after("ulimit -f 100", &["attach", checkpoint, "-o", pack]);
    let said = text(&job.stderr);
    assert_eq!(job.status.code(), Some(1), "{said}");
    assert!(
        said.contains("token_map.u32le: it will have") && said.contains("ulimit -f"),
        "{said}"
    );
    assert!(!Path::new(pack).exists());
}

#[test]
fn other_files_are_never_taken_for_leavings() {
    let folder = Folder::new();
    let [checkpoint, pack] = &checkpoint(&folder);
    fs::create_dir(pack).unwrap();
    fs::write(Path::new(pack).join("notes.txt"), "mine").unwrap();
    for job in ["attach", "build"] {
        assert!(fails(&[job, checkpoint, "-o", pack]).contains("is not empty"));
    }
    fs::write(Path::new(pack).join(MARK), "plan\n").unwrap();
    for job in ["attach", "build"] {
        let said = fails(&[job, checkpoint, "-o", pack]);
        assert!(said.contains("holds an unfinished build"), "{said}");
    }
    assert_eq!(names(Path::new(pack)), [MARK, "notes.txt"]);
}

#[test]
fn a_checkpoint_that_was_not_finished_is_made_anew() {
    let folder = Folder::new();
    let (out, path) = (folder.join("out"), &folder.at("out"));
    let synth = [
        "synth",
        "--scheme",
        "longcat-flash-lite",
        "--scale",
        "1000000",
        "-o",
        path,
    ];
    ok(&synth);
    let made = names(&out);
    let mark = out.join("synth.unfinished");
    fs::write(&mark, "").unwrap();
    fs::remove_file(out.join("model.safetensors.index.json")).unwrap();
    fs::write(out.join("model-00001-of-00009.safetensors.partial"), "x").unwrap();
    let held = fs::File::open(&mark).unwrap();
    held.lock().unwrap();
    assert!(fails(&synth).contains("another synth of"));
    drop(held);
    ok(&synth);
    assert_eq!(names(&out), made);
    assert!(fails(&synth).contains("is not empty"));
}

#[test]
fn a_profile_has_one_writer() {
    let folder = Folder::new();
    let path = |name: &str| folder.at(name);
    fs::write(path("trace"), [1, 0, 0, 0, 2, 0, 0, 0]).unwrap();
    let (trace, out) = (path("trace"), path("out"));
    let scheme = ["profile", "--scheme", "longcat-flash-lite"];
    let profile = [&scheme[..], &["--trace", &trace, "-o", &out]].concat();
    fs::write(
        path("out.partial"),
        "what another process has written until now",
    )
    .unwrap();
    let held = fs::File::open(path("out.partial")).unwrap();
    held.lock().unwrap();
    assert!(fails(&profile).contains("is being written by another process"));
    drop(held);
    ok(&profile);
    ok(&["inspect", &out]);
    assert_eq!(names(folder.path()), ["out", "trace"]);
}
