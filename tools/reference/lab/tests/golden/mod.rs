//! The golden models and their packs.

use std::path::{Path, PathBuf};

use engram_checkpoint::Checkpoint;
use engram_pack::{BuildOptions, build};
use tempfile::TempDir;

/// The folder of the model called `name`.
pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../model/tests/golden")
        .join(name)
}

/// A pack of `checkpoint` in `folder`.
pub(crate) fn pack(checkpoint: &Path, folder: &TempDir) -> PathBuf {
    let pack = folder.path().join("pack");
    let checkpoint = Checkpoint::open(checkpoint, None).unwrap();
    build(&checkpoint, &pack, &BuildOptions::default(), &|_| ()).unwrap();
    pack
}
