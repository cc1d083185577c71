//! The mark by which one process at a time fills a folder.
//!
//! The mark is a file that is there until the folder is whole, and locked while a process works on it. Its first line
//! says what the work is, the second which process does it. What a killed process leaves beside a mark belongs to the
//! next one, which need not ask its user about it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Result, bail};
use engram_io::{FileLock, IoError, create_folder, is_named, sync_entry};

/// Most bytes of a mark that are read; ours are shorter.
const MAX_MARK_BYTES: usize = 1_000;
/// Begins the line with the id of the process.
const PROCESS: &str = "process ";
/// How often a mark is opened anew because another process has just removed it.
const OPENINGS: usize = 16;

/// A kind of work that fills a folder.
pub(crate) struct Work {
    /// What users call it.
    pub(crate) name: &'static str,
    /// File name of the mark.
    pub(crate) mark: &'static str,
    /// Whether the file of that name is one that this work leaves when it is killed and that the next may remove.
    pub(crate) is_leaving: fn(&Path) -> bool,
}

/// A folder that this process fills and, where its file system has locks, no other.
pub(crate) struct Claim {
    work: &'static Work,
    folder: PathBuf,
    mark: PathBuf,
    file: File,
    made_folder: bool,
    made_mark: bool,
}

impl Claim {
    /// Claims `folder`, which is made if it is missing, for `work`. `check` says whether it is free to be claimed.
    ///
    /// # Errors
    /// A folder that another process fills, that has other files and no mark, that `check` refuses, or that cannot be
    /// written.
    pub(crate) fn take(
        folder: &Path,
        work: &'static Work,
        check: impl Fn() -> Result<()>,
    ) -> Result<Self> {
        let made_folder = !folder.exists();
        create_folder(folder)?;
        let mark = folder.join(work.mark);
        for turn in 1..=OPENINGS {
            check()?;
            let Some((file, made_mark)) = open_mark(&mark)? else {
                continue;
            };
            match FileLock::try_exclusive(&file) {
                FileLock::HeldByOther => {
                    let process = Mark::read(&file).ok().and_then(|mark| mark.process);
                    let process = process.map_or(String::new(), |id| format!(" (process {id})"));
                    bail!(
                        "another {} of {} is running{process}",
                        work.name,
                        folder.display()
                    );
                }
                // Whoever held the lock until now has finished and removed the mark. A file system that numbers a file
                // anew at each look says so of every mark, which must not go on for ever.
                FileLock::Held if turn < OPENINGS && !is_named(&file, &mark) => continue,
                FileLock::Held => {}
                FileLock::Unsupported(error) => {
                    check_process(work, folder, &mark, &file)?;
                    tracing::warn!(
                        "{} cannot be locked ({error}); see to it that no other {} of this folder runs meanwhile",
                        mark.display(),
                        work.name
                    );
                }
            }
            let claim = Self {
                work,
                folder: folder.into(),
                mark,
                file,
                made_folder,
                made_mark,
            };
            // From now on others are told which process it is.
            claim.write(&claim.task()?)?;
            return Ok(claim);
        }
        bail!(
            "{} is claimed and released all the time by others",
            mark.display()
        )
    }

    /// What the mark says of the work; empty if the process that began it was killed before it said so.
    pub(crate) fn task(&self) -> Result<String> {
        let mark = Mark::read(&self.file);
        let mark = mark.map_err(IoError::os("read", &self.mark))?;
        Ok(mark.task)
    }

    /// The first file of the folder that is no leaving of a killed process: it was there before, or is finished work.
    pub(crate) fn finished_work(&self) -> Result<Option<PathBuf>> {
        let mut leavings = Vec::new();
        self.leavings(&self.folder, &mut leavings)
    }

    /// Removes what a killed process has left, and says that the work is `task` and this process does it.
    pub(crate) fn begin(&self, task: &str) -> Result<()> {
        self.remove_leavings()?;
        self.go_on(task)
    }

    /// Says that the work is `task` and this process does it.
    pub(crate) fn go_on(&self, task: &str) -> Result<()> {
        self.write(task)?;
        let synced = self.file.sync_all();
        synced.map_err(IoError::os("sync", &self.mark))?;
        Ok(sync_entry(&self.mark)?)
    }

    fn write(&self, task: &str) -> Result<()> {
        let text = format!("{task}\n{PROCESS}{}\n", process::id());
        let written = self.file.write_all_at(text.as_bytes(), 0);
        let written = written.and_then(|()| self.file.set_len(text.len() as u64));
        Ok(written.map_err(IoError::os("write", &self.mark))?)
    }

    /// Removes the mark of a folder that is whole.
    pub(crate) fn end(self) -> Result<()> {
        fs::remove_file(&self.mark).map_err(IoError::os("remove", &self.mark))?;
        Ok(sync_entry(&self.mark)?)
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Leaves the folder as it was before this process claimed it for work that was not begun after all.
    pub(crate) fn give_back(self) {
        if self.made_mark {
            self.abandon();
        }
    }

    /// Removes what the work has made, as far as that is possible: the error that ended it is the one to tell.
    pub(crate) fn abandon(self) {
        let _ = self.remove_leavings();
        let _ = fs::remove_file(&self.mark);
        if self.made_folder {
            let _ = fs::remove_dir(&self.folder);
        }
    }

    fn remove_leavings(&self) -> Result<()> {
        let mut leavings = Vec::new();
        self.leavings(&self.folder, &mut leavings)?;
        for path in leavings {
            fs::remove_file(&path).map_err(IoError::os("remove", &path))?;
        }
        Ok(())
    }

    /// Adds the leavings in `folder` and in the folders below it to `found`, up to the first file that is none.
    fn leavings(&self, folder: &Path, found: &mut Vec<PathBuf>) -> Result<Option<PathBuf>> {
        for path in entries(folder)? {
            let other = if path.is_dir() {
                self.leavings(&path, found)?
            } else if path == self.mark {
                None
            } else if path.extension().is_some_and(|e| e == "partial")
                || (self.work.is_leaving)(&path)
            {
                found.push(path);
                None
            } else {
                Some(path)
            };
            if other.is_some() {
                return Ok(other);
            }
        }
        Ok(None)
    }
}

/// Checks that the process that the mark names does not run any more, which is all that can be told without locks.
fn check_process(work: &Work, folder: &Path, mark: &Path, file: &File) -> Result<()> {
    let found = Mark::read(file).map_err(IoError::os("read", mark))?;
    match found.process {
        Some(id) if id != process::id() && runs(id) => bail!(
            "another {} of {} seems to be running (process {id}); if that process is something else, remove {}",
            work.name,
            folder.display(),
            mark.display()
        ),
        _ => Ok(()),
    }
}

/// Whether a process of this program has the number `id` on this machine.
fn runs(id: u32) -> bool {
    let name = |process: &str| fs::read(format!("/proc/{process}/comm")).ok();
    name(&id.to_string()).is_some_and(|other| Some(other) == name("self"))
}

/// Opens the mark at `path`, or makes it in a folder that is empty, and whether it did. None if it went or came
/// meanwhile.
fn open_mark(path: &Path) -> Result<Option<(File, bool)>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => {
            let file = opened.map_err(IoError::os("open", path))?;
            return Ok(Some((file, false)));
        }
    }
    let folder = path.parent().expect("a mark lies in a folder");
    if entries(folder)?.is_empty() {
        let made = options.create(true).truncate(false).open(path);
        let file = made.map_err(IoError::os("create", path))?;
        return Ok(Some((file, true)));
    }
    if path.exists() {
        return Ok(None);
    }
    bail!("the folder {} is not empty", folder.display())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = fs::read_dir(folder).and_then(|list| list.map(|entry| Ok(entry?.path())).collect());
    Ok(list.map_err(IoError::os("list the folder", folder))?)
}

/// What a mark says, as far as it was written.
struct Mark {
    task: String,
    process: Option<u32>,
}

impl Mark {
    fn read(file: &File) -> io::Result<Self> {
        let mut bytes = [0; MAX_MARK_BYTES];
        let len = file.read_at(&mut bytes, 0)?;
        let text = String::from_utf8_lossy(&bytes[..len]);
        let mut lines = text
            .split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'));
        let task = lines.next().unwrap_or_default().to_owned();
        let process = lines.next().and_then(|line| line.strip_prefix(PROCESS));
        Ok(Self {
            task,
            process: process.and_then(|id| id.parse().ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_program_counts() {
        assert!(runs(process::id()));
        assert!(!runs(u32::MAX));
        let mut other = process::Command::new("sleep").arg("60").spawn().unwrap();
        let counted = runs(other.id());
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(!counted);
    }
}
