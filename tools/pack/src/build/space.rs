//! Room for the shards that are to be written.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use anyhow::{Result, bail};
use engram_io::{create_folder, find_no_room};

/// Bytes of what the system counts as a block.
const COUNTED_BYTES: u64 = 512;

/// Checks that every drive has room for the shards of `wanted`, paths and bytes, that are missing on it, so that the
/// work does not end half way.
pub(crate) fn check<'a>(wanted: impl Iterator<Item = (&'a Path, u64)> + Clone) -> Result<()> {
    let missing = || wanted.clone().filter(|(path, _)| !path.exists());
    missing().try_for_each(|(path, _)| create_folder(folder(path)))?;
    let wanted = missing().map(|(path, bytes)| {
        // What a killed process has written of it gives way.
        let mut begun = path.as_os_str().to_owned();
        begun.push(".partial");
        let given_back = fs::metadata(begun).map_or(0, |found| COUNTED_BYTES * found.blocks());
        (folder(path), bytes.saturating_sub(given_back))
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

/// The folder of the pack or of the stripe that a shard is for.
fn folder(shard: &Path) -> &Path {
    let folder = shard.ancestors().nth(2);
    folder.expect("a shard lies in the folder of its layer")
}
