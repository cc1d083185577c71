//! The state of an unfinished build, which its mark keeps.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use engram_format::{Digest, MANIFEST_FILE, TOKEN_MAP_FILE};

use super::BuildOptions;
use crate::claim::{Claim, Work};

const ALLOW_NAN: &str = " allow-nan";
const ALLOW_ZEROS: &str = " allow-zeros";

/// Whatever makes a pack: building and attaching keep out of each other's way.
const PACKING: Work = Work {
    name: "build",
    mark: "build.unfinished",
    // Shards are what is worth keeping; these are written in no time.
    is_leaving: |path| path.ends_with(TOKEN_MAP_FILE) || path.ends_with(MANIFEST_FILE),
};

/// Claims `folders`, the pack's and those of its stripes elsewhere, for a build of the plan with that digest, or takes
/// up an unfinished one.
///
/// The marks say the digest of the plan, so that a build never goes on with another checkpoint or with the stripes of
/// another pack, and whether rows may hold codes that are not numbers, and many be zero.
pub(super) fn begin_build(
    folders: &[&Path],
    plan: Digest,
    options: &BuildOptions,
) -> Result<Vec<Claim>> {
    let mut claims = Vec::new();
    let begun = folders
        .iter()
        .try_for_each(|folder| {
            claims.push(claim(folder)?);
            Ok(())
        })
        .and_then(|()| begin(&claims, &mark(plan, options), options.resume));
    if let Err(error) = begun {
        claims.into_iter().for_each(Claim::give_back);
        return Err(error);
    }
    Ok(claims)
}

/// Begins `task` in the folders of `claims`, or goes on with it where it has finished some shards.
fn begin(claims: &[Claim], task: &str, resume: bool) -> Result<()> {
    let mut resumed = Vec::new();
    for claim in claims {
        // Killed before the first shard was finished, an earlier build has left nothing to go on with.
        resumed.push(claim.finished_work()?.is_some());
    }
    for (claim, _) in claims.iter().zip(&resumed).filter(|(_, resumed)| **resumed) {
        let folder = claim.folder().display();
        if !resume {
            bail!("{folder} holds an unfinished build; go on with it by --resume, or remove it");
        }
        let stored = claim.task()?;
        // What a stricter build has finished is what a lenient one would write.
        if stored != task && !is_stricter(&stored, task) {
            bail!(
                "the unfinished build in {folder} is of another checkpoint or other options ({stored}, now {task}); \
                 remove it"
            );
        }
    }
    for (claim, resumed) in claims.iter().zip(resumed) {
        if resumed {
            claim.go_on(task)?;
        } else {
            claim.begin(task)?;
        }
    }
    Ok(())
}

/// Removes the marks in `stripes` of a build of that plan that was killed when its pack was whole.
pub(super) fn end_stripes(stripes: &[PathBuf], plan: Digest) -> Result<()> {
    for folder in stripes
        .iter()
        .filter(|folder| folder.join(PACKING.mark).exists())
    {
        let claim = claim(folder)?;
        let stored = claim.task()?;
        if stored.split_whitespace().next() == Some(&plan.to_string()) {
            claim.end()?;
        }
    }
    Ok(())
}

/// Claims the folder `pack` for an attached pack.
pub(crate) fn begin_attach(pack: &Path) -> Result<Claim> {
    let claim = claim(pack)?;
    if claim.finished_work()?.is_some() {
        bail!(
            "{} holds an unfinished build; go on with it by `engram-pack build --resume`, or remove it",
            pack.display()
        );
    }
    claim.begin("attach")?;
    Ok(claim)
}

fn claim(pack: &Path) -> Result<Claim> {
    Claim::take(pack, &PACKING, || {
        if is_finished(pack) {
            bail!("{} is a finished pack already", pack.display());
        }
        Ok(())
    })
}

/// What the mark says of a build of the plan with that digest.
fn mark(plan: Digest, options: &BuildOptions) -> String {
    let nan = if options.allow_nan { ALLOW_NAN } else { "" };
    let zeros = if options.allow_zeros { ALLOW_ZEROS } else { "" };
    format!("{plan}{nan}{zeros}")
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
pub(crate) fn is_finished(pack: &Path) -> bool {
    pack.join(MANIFEST_FILE).exists() && !pack.join(PACKING.mark).exists()
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
