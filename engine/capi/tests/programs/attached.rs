//! An attached pack.

use std::{
    fs,
    path::{Path, PathBuf},
};

use engram_checkpoint::{Checkpoint, Family, QwenConfig};

/// Makes a pack in `folder` that is attached to a checkpoint there.
pub(crate) fn attach(folder: &Path) -> PathBuf {
    let family = Family::Qwen(QwenConfig {
        one_based_layers: vec![2],
        embed_width: 64,
        max_order: 3,
        heads: 2,
        bucket_start: 40,
        row_multiple: 8,
        parts: 8,
        seed: 1_234,
        vocab_size: 100,
        eos: 90,
        hidden_size: 32,
        hc_count: 2,
        kernel_size: 4,
    });
    let (checkpoint, attached) = (folder.join("checkpoint"), folder.join("attached"));
    fs::create_dir(&checkpoint).unwrap();
    engram_pack::write_checkpoint(&family, None, 1, &checkpoint, &|_| ()).unwrap();
    let checkpoint = Checkpoint::open(&checkpoint, None).unwrap();
    engram_pack::attach(&checkpoint, &attached).unwrap();
    attached
}

/// The files of rows of the checkpoint that [`attach`] has made in `folder`.
pub(crate) fn tensor_files(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder.join("checkpoint")).unwrap();
    files
        .map(|file| file.unwrap().path())
        .filter(|file| file.extension().is_some_and(|kind| kind == "safetensors"))
        .collect()
}
