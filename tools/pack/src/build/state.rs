//! The state of an unfinished build, which its mark keeps.

use std::path::Path;

use anyhow::{Result, bail};
use engram_format::{Digest, MANIFEST_FILE, TOKEN_MAP_FILE};

use crate::claim::{Claim, Work};

const ALLOW_NAN: &str = " allow-nan";

/// Whatever makes a pack: building and attaching keep out of each other's way.
const PACKING: Work = Work {
    name: "build",
    mark: "build.unfinished",
    // Shards are what is worth keeping; these are written in no time.
    is_leaving: |path| path.ends_with(TOKEN_MAP_FILE) || path.ends_with(MANIFEST_FILE),
};

/// Claims the folder `pack` for a build of the plan with that digest, or takes up an unfinished one.
///
/// The mark says the digest of the plan, so that a build never goes on with another checkpoint, and whether rows may
/// hold codes that are not numbers.
pub(super) fn begin_build(
    pack: &Path,
    plan: Digest,
    resume: bool,
    allow_nan: bool,
) -> Result<Claim> {
    let claim = claim(pack)?;
    let strict = plan.to_string();
    let lenient = format!("{plan}{ALLOW_NAN}");
    let task = if allow_nan { &lenient } else { &strict };
    if claim.finished_work()?.is_none() {
        // Killed before the first shard was finished, an earlier build has left nothing to go on with.
        claim.begin(task)?;
        return Ok(claim);
    }
    if !resume {
        bail!(
            "{} holds an unfinished build; go on with it by --resume, or remove it",
            pack.display()
        );
    }
    let stored = claim.task()?;
    // What a stricter build has finished is what a lenient one would write.
    if stored != *task && !(allow_nan && stored == strict) {
        bail!(
            "the unfinished build in {} is of another checkpoint or other options ({stored}, now {task}); remove it",
            pack.display(),
        );
    }
    claim.go_on(task)?;
    Ok(claim)
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

/// Whether `pack` has a manifest and no build is going on.
pub(super) fn is_finished(pack: &Path) -> bool {
    pack.join(MANIFEST_FILE).exists() && !pack.join(PACKING.mark).exists()
}
