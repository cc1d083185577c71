//! Room for the shards that are to be written.

use std::{fs, os::unix::fs::MetadataExt};

use anyhow::{Result, bail};
use engram_io::{create_folder, find_no_room};

use super::shard::ShardJob;

/// Bytes of what the system counts as a block.
const COUNTED_BYTES: u64 = 512;

/// Checks that every drive has room for the shards that are missing on it, so that a build does not end half way.
pub(super) fn check(jobs: &[ShardJob<'_>]) -> Result<()> {
    let missing = || jobs.iter().filter(|job| !job.path.exists());
    missing().try_for_each(|job| create_folder(job.folder()))?;
    let wanted = missing().map(|job| {
        // What a killed build has written of it gives way.
        let mut begun = job.path.clone().into_os_string();
        begun.push(".partial");
        let given_back = fs::metadata(begun).map_or(0, |found| COUNTED_BYTES * found.blocks());
        (job.folder(), job.shard_bytes().saturating_sub(given_back))
    });
    if let Some(lacking) = find_no_room(wanted)? {
        bail!(
            "{} needs {} bytes for shards that are missing on its drive, and has {} free",
            lacking.folder.display(),
            lacking.needed,
            lacking.free
        );
    }
    Ok(())
}
