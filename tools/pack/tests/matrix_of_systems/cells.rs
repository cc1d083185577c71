//! The cells: system calls that are refused, limits, file systems.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{self, Command},
};

use crate::{
    folders::Folder,
    lookups::READERS,
    outcome::Outcome,
    table::{PROGRAM, own},
};

/// The first of the user ids that cells with limits of a user run under; nobody has these.
const FIRST_UID: usize = 48_600;

/// One system, and what is right there.
pub(crate) struct Cell {
    pub(crate) name: String,
    /// What `--under` is given.
    conditions: Vec<String>,
    /// Where the checkpoint and sound packs of it lie.
    sound: PathBuf,
    /// Where new packs are written.
    output: PathBuf,
    /// Whether a new pack may be refused; rows may not.
    writes_may_fail: bool,
    /// Whether rows may be refused too.
    reads_may_fail: bool,
    /// Whether the store has the cache that it has by default, rather than a small one that is quick to make.
    default_cache: bool,
}

/// What came of a cell: building, attaching, verifying, and each reader.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) faults: Vec<String>,
}

pub(crate) const STEPS: [&str; 3] = ["build", "attach", "verify"];

/// System calls, what is answered, and how much may then fail: nothing, writes, reads too.
const REFUSED: [(&str, &[&str], Fails); 24] = [
    // Advice, and calls that others take the place of.
    (
        "flock",
        &["ENOLCK", "ENOSYS", "EOPNOTSUPP", "EPERM"],
        Fails::Nothing,
    ),
    (
        "fallocate",
        &["EINVAL", "EPERM", "EOPNOTSUPP", "ENOSYS"],
        Fails::Nothing,
    ),
    ("fadvise64", &["EPERM", "ENOSYS", "EINVAL"], Fails::Nothing),
    ("madvise", &["EPERM", "ENOSYS", "EINVAL"], Fails::Nothing),
    ("statx", &["ENOSYS", "EPERM"], Fails::Nothing),
    ("fstatfs", &["ENOSYS", "EPERM"], Fails::Nothing),
    ("copy_file_range", &["ENOSYS", "EPERM"], Fails::Nothing),
    ("sync_file_range", &["ENOSYS"], Fails::Nothing),
    ("renameat2", &["ENOSYS", "EINVAL"], Fails::Nothing),
    ("mlock", &["EPERM", "ENOMEM"], Fails::Nothing),
    ("sched_getaffinity", &["ENOSYS", "EPERM"], Fails::Nothing),
    ("getrandom", &["ENOSYS", "EPERM"], Fails::Nothing),
    ("prlimit64", &["ENOSYS", "EPERM"], Fails::Nothing),
    ("preadv", &["ENOSYS", "EPERM"], Fails::Nothing),
    (
        "io_uring_setup",
        &["ENOSYS", "EPERM", "ENOMEM"],
        Fails::Nothing,
    ),
    (
        "io_uring_enter",
        &["ENOSYS", "EPERM", "EINVAL"],
        Fails::Nothing,
    ),
    (
        "io_uring_register",
        &["ENOSYS", "EPERM", "EINVAL", "ENOMEM"],
        Fails::Nothing,
    ),
    ("eventfd2", &["ENOSYS", "EPERM"], Fails::Nothing),
    (
        "openat-direct",
        &["EINVAL", "EOPNOTSUPP", "EPERM"],
        Fails::Nothing,
    ),
    // Without a new thread a store cannot have reads in flight; a command does its work with the one it has.
    ("clone3", &["ENOSYS", "EPERM"], Fails::Reads),
    // What nothing takes the place of.
    (
        "fsync",
        &["EINVAL", "ENOSYS", "EPERM", "EIO"],
        Fails::Writes,
    ),
    ("rename", &["EPERM", "EROFS"], Fails::Writes),
    ("pwrite64", &["ENOSPC", "EDQUOT", "EIO"], Fails::Writes),
    ("unlink", &["EPERM"], Fails::Writes),
];

const MORE_REFUSED: [(&str, &[&str], Fails); 4] = [
    ("mkdir", &["EROFS", "EDQUOT"], Fails::Writes),
    ("getdents64", &["EPERM"], Fails::Writes),
    ("readlink", &["EPERM", "ENOSYS"], Fails::Nothing),
    ("ftruncate", &["EPERM", "EINVAL"], Fails::Writes),
];

#[derive(Clone, Copy, PartialEq)]
enum Fails {
    Nothing,
    Writes,
    Reads,
}

/// Limits, and what may fail under them.
const LIMITS: [(&[&str], Fails); 10] = [
    (&["nofile=1024"], Fails::Nothing),
    (&["nofile=30"], Fails::Nothing),
    (&["nofile=12"], Fails::Reads),
    (&["nofile=8"], Fails::Reads),
    (&["memlock=0"], Fails::Nothing),
    (&["fsize=4096"], Fails::Writes),
    (&["as=400000000"], Fails::Reads),
    (&["nproc=1", "uid"], Fails::Reads),
    (&["nproc=4", "uid"], Fails::Nothing),
    (&["nproc=20", "uid", "io_uring_setup=EPERM"], Fails::Nothing),
];

/// All cells, over the sound checkpoint and packs in `sound`; `base` is for what they write.
pub(crate) fn all(
    sound: &Path,
    base: &Path,
    folders: Vec<Folder>,
    groups: &mut Groups,
) -> Vec<Cell> {
    let mut cells: Vec<Cell> = folders.into_iter().map(Cell::in_folder).collect();
    for (call, answers, fails) in REFUSED.iter().chain(&MORE_REFUSED) {
        for answer in *answers {
            cells.push(Cell::under(
                &[format!("{call}={answer}")],
                *fails,
                sound,
                base,
            ));
        }
    }
    for (index, (limits, fails)) in LIMITS.iter().enumerate() {
        let limits: Vec<String> = limits
            .iter()
            .map(|&limit| match limit {
                "uid" => format!("uid={}", FIRST_UID + index),
                limit => limit.into(),
            })
            .collect();
        let started = Outcome::of(command(&limits).args([PROGRAM, "--version"]));
        if limits.iter().any(|limit| limit.starts_with("uid=")) && !matches!(started, Outcome::Same)
        {
            println!("skipped: {}: {started:?}", limits.join(" "));
            continue;
        }
        cells.push(Cell::under(&limits, *fails, sound, base));
    }
    for (controller, limits) in [
        (
            "memory",
            &["memory.limit_in_bytes=200M", "memory.max=200M"][..],
        ),
        ("pids", &["pids.max=4"]),
    ] {
        match groups.make(controller, limits) {
            Ok(group) => {
                let mut cell = Cell::under(
                    &[format!("cgroup={}", group.display())],
                    Fails::Nothing,
                    sound,
                    base,
                );
                cell.name = format!("cgroup, {}", limits[0]);
                cell.default_cache = true;
                cells.push(cell);
            }
            Err(error) => println!("skipped: cgroup, {}: {error}", limits[0]),
        }
    }
    cells
}

/// This program with `conditions`, to be followed by another.
fn command(conditions: &[String]) -> Command {
    let mut command = Command::new(own());
    command.arg("--under").args(conditions).arg("--");
    command
}

impl Cell {
    fn in_folder(folder: Folder) -> Self {
        Self {
            name: folder.name,
            conditions: Vec::new(),
            output: folder.path.join("new"),
            sound: folder.path,
            writes_may_fail: folder.read_only || folder.broken,
            reads_may_fail: folder.broken,
            default_cache: false,
        }
    }

    fn under(conditions: &[String], fails: Fails, sound: &Path, base: &Path) -> Self {
        let name = conditions.join(" ").replace('=', " ");
        Self {
            output: base.join(name.replace([' ', '/'], "-")),
            name,
            conditions: conditions.to_vec(),
            sound: sound.into(),
            writes_may_fail: fails != Fails::Nothing,
            reads_may_fail: fails == Fails::Reads,
            default_cache: false,
        }
    }

    pub(crate) fn run(&self, expected: &Path) -> Row {
        let mut row = Row {
            name: self.name.clone(),
            outcomes: Vec::new(),
            faults: Vec::new(),
        };
        // Whoever the cell runs as may write there, and on a read-only file system nobody.
        let made = fs::create_dir(&self.output);
        let _ = made
            .and_then(|()| fs::set_permissions(&self.output, fs::Permissions::from_mode(0o777)));
        let [checkpoint, mut pack, mut attached] =
            ["checkpoint", "pack", "attached"].map(|name| self.sound.join(name));
        for (job, found) in [("build", &mut pack), ("attach", &mut attached)] {
            let new = self.output.join(job);
            let outcome = self.step(&[job, at(&checkpoint), "-o", at(&new)]);
            if matches!(outcome, Outcome::Same) {
                *found = new;
            } else {
                self.try_again(job, &checkpoint, &new, &mut row);
            }
            row.add(job, outcome, self.writes_may_fail);
        }
        let here = ["--checkpoint", at(&checkpoint)];
        let verified = [
            &["verify", at(&pack)][..],
            &[&["verify", at(&attached)][..], &here].concat(),
        ]
        .map(|args| self.step(args));
        let [of_pack, of_attached] = verified;
        let verified = if matches!(of_pack, Outcome::Same) {
            of_attached
        } else {
            of_pack
        };
        row.add("verify", verified, self.reads_may_fail);
        let shared = self.output.join("shared");
        let _ = fs::create_dir(&shared);
        let _ = fs::set_permissions(&shared, fs::Permissions::from_mode(0o777));
        for reader in READERS {
            // Nothing is shared where nothing can be written.
            if reader == "shared" && !shared.is_dir() {
                row.outcomes.push(Outcome::NotDone);
                continue;
            }
            let cache = if self.default_cache {
                "default"
            } else {
                "small"
            };
            let mut command = command(&self.conditions);
            command
                .arg(own())
                .args(["--look-up", reader, at(expected), cache, at(&shared)]);
            command.arg(&checkpoint).args([&pack, &attached]);
            let may_fail = self.reads_may_fail || (self.writes_may_fail && reader == "shared");
            row.add(reader, Outcome::of(&mut command), may_fail);
        }
        row
    }

    fn step(&self, args: &[&str]) -> Outcome {
        Outcome::of(command(&self.conditions).arg(PROGRAM).args(args))
    }

    /// Whatever a refused job has left, the next must succeed once its reason is gone.
    fn try_again(&self, job: &str, checkpoint: &Path, new: &Path, row: &mut Row) {
        if self.conditions.is_empty() {
            return;
        }
        let plain = |rest: &[&str]| {
            let args = [&[job, at(checkpoint), "-o", at(new)], rest].concat();
            Outcome::of(command(&[]).arg(PROGRAM).args(args))
        };
        let again = match plain(&[]) {
            Outcome::Refused(said) if said.contains("--resume") => plain(&["--resume"]),
            // What was refused was only to sync or to tidy up.
            Outcome::Refused(said) if said.contains("is a finished pack already") => return,
            again => again,
        };
        if !matches!(again, Outcome::Same) {
            row.faults
                .push(format!("{job} again, without the refusal: {again:?}"));
        }
    }
}

impl Row {
    fn add(&mut self, step: &str, outcome: Outcome, may_fail: bool) {
        if !outcome.is_right(may_fail) {
            let words = outcome.words().unwrap_or_default();
            self.faults
                .push(format!("{step}: {}: {words}", outcome.word()));
        }
        self.outcomes.push(outcome);
    }
}

fn at(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Control groups of this run, removed when it ends.
#[derive(Default)]
pub(crate) struct Groups(Vec<PathBuf>);

impl Groups {
    /// A group of `controller` with one of `limits`, `FILE=VALUE` for each version of control groups.
    fn make(&mut self, controller: &str, limits: &[&str]) -> io::Result<PathBuf> {
        let mut refused = io::Error::from(io::ErrorKind::NotFound);
        for root in [&format!("/sys/fs/cgroup/{controller}"), "/sys/fs/cgroup"] {
            let group = Path::new(root).join(format!("engram-matrix-{}", process::id()));
            if let Err(error) = fs::create_dir(&group) {
                refused = error;
                continue;
            }
            self.0.push(group.clone());
            for limit in limits {
                let (file, value) = limit.split_once('=').unwrap();
                match fs::OpenOptions::new().write(true).open(group.join(file)) {
                    Ok(mut file) => {
                        io::Write::write_all(&mut file, value.as_bytes())?;
                        return Ok(group);
                    }
                    Err(error) => refused = error,
                }
            }
        }
        Err(refused)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for group in &self.0 {
            let _ = fs::remove_dir(group);
        }
    }
}
