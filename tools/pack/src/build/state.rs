//! The mark of an unfinished build, which also keeps two builds apart.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use engram_format::{Digest, MANIFEST_FILE};
use engram_io::sync_entry;

use super::{BuildOptions, new_folder};

const STATE_FILE: &str = "build.unfinished";
const ALLOW_NAN: &str = " allow-nan";
const ALLOW_ZEROS: &str = " allow-zeros";

/// An unfinished build that this process holds.
///
/// The file holds a line with the digest of the plan, so that a build never goes on with another
/// checkpoint, and whether rows may hold codes that are not numbers, and many be zero.
pub(super) struct BuildState {
    path: PathBuf,
    _lock: File,
}

impl BuildState {
    /// Begins a build of the plan with that digest in `pack`, or takes up an unfinished one.
    pub(super) fn begin(pack: &Path, plan: Digest, options: &BuildOptions) -> Result<Self> {
        let path = pack.join(STATE_FILE);
        if is_finished(pack) {
            bail!("{} is a finished pack already", pack.display());
        }
        if !path.exists() {
            new_folder(pack)?;
        } else if !options.resume {
            bail!(
                "{} holds an unfinished build; go on with it by --resume, or remove it",
                pack.display()
            );
        }
        let context = || format!("cannot open {}", path.display());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(context)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                bail!("another build of {} is running", pack.display())
            }
            locked => locked.with_context(context)?,
        }
        let mark = mark(plan, options);
        let mut stored = String::new();
        // One byte more than any mark tells another file from it.
        let most = mark.len() + ALLOW_NAN.len() + ALLOW_ZEROS.len() + 1;
        (&file)
            .take(most as u64)
            .read_to_string(&mut stored)
            .with_context(context)?;
        // Killed before the mark was on the drive, the earlier build had not written a shard. What a
        // stricter build has finished is what a lenient one would write.
        if !stored.ends_with('\n') || is_stricter(&stored, &mark) {
            file.write_all_at(mark.as_bytes(), 0)
                .with_context(context)?;
            file.sync_all().with_context(context)?;
            sync_entry(&path)?;
        } else if stored != mark {
            bail!(
                "the unfinished build in {} is of another checkpoint or other options ({}, now {}); remove it",
                pack.display(),
                stored.trim_end(),
                mark.trim_end()
            );
        }
        Ok(Self { path, _lock: file })
    }

    /// Removes the mark of a build whose manifest is written.
    pub(super) fn end(self) -> Result<()> {
        fs::remove_file(&self.path)
            .with_context(|| format!("cannot remove {}", self.path.display()))?;
        Ok(sync_entry(&self.path)?)
    }
}

/// The line of a build of the plan with that digest.
fn mark(plan: Digest, options: &BuildOptions) -> String {
    let nan = if options.allow_nan { ALLOW_NAN } else { "" };
    let zeros = if options.allow_zeros { ALLOW_ZEROS } else { "" };
    format!("{plan}{nan}{zeros}\n")
}

/// Whether the build with the mark `stored` is of the same plan as that with `mark`, and allows less.
fn is_stricter(stored: &str, mark: &str) -> bool {
    let (mut stored, mut mark) = (stored.split_whitespace(), mark.split_whitespace());
    let same_plan = stored.next() == mark.next();
    let allowed: Vec<&str> = mark.collect();
    let earlier: Vec<&str> = stored.collect();
    same_plan && earlier.len() < allowed.len() && earlier.iter().all(|word| allowed.contains(word))
}

/// Whether `pack` has a manifest and no build is going on.
pub(super) fn is_finished(pack: &Path) -> bool {
    pack.join(MANIFEST_FILE).exists() && !pack.join(STATE_FILE).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stricter_build_of_the_same_plan_is_taken_up() {
        let mark = |plan, allow_nan, allow_zeros| {
            let options = BuildOptions {
                allow_nan,
                allow_zeros,
                ..BuildOptions::default()
            };
            mark(Digest(plan), &options)
        };
        let lenient = mark(1, true, true);
        for (nan, zeros) in [(false, false), (true, false), (false, true)] {
            assert!(is_stricter(&mark(1, nan, zeros), &lenient));
            assert!(!is_stricter(&mark(2, nan, zeros), &lenient));
            assert!(!is_stricter(&lenient, &mark(1, nan, zeros)));
        }
        assert!(!is_stricter(&mark(1, true, false), &mark(1, false, true)));
    }
}
