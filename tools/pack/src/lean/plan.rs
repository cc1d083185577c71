//! Which bytes of a file stay in a lean checkpoint, and where the others come from.

mod gguf;
mod safetensors;

use std::path::Path;

use anyhow::Result;
use engram_checkpoint::{Checkpoint, SourceTable, gguf_parts};
use engram_format::Digest;
use engram_io::{NewFile, PreadReader, ReadAt};

use super::record::{LeanFile, rest_name};

/// Bytes copied at a time.
const CHUNK_BYTES: usize = 2 << 20;

/// A file of a checkpoint that holds rows.
pub(super) struct LeanPlan {
    file: LeanFile,
    /// Size of the lean file.
    bytes: u64,
    /// Its first bytes, where they are not kept.
    start: Vec<u8>,
    kept: Vec<Kept>,
    /// Bytes of the checkpoint's file that go to one which no engine loads.
    rest: Vec<Kept>,
    /// Names and sizes of the tensors that an index must not list any more.
    removed: Vec<(String, u64)>,
}

/// Bytes of the checkpoint's file that the lean one has too.
struct Kept {
    from: u64,
    to: u64,
    bytes: u64,
}

impl LeanPlan {
    /// The plan for the checkpoint's file at index `source`.
    pub(super) fn new(checkpoint: &Checkpoint, source: usize) -> Result<Self> {
        match gguf_parts(&checkpoint.sources[source].name) {
            Some(_) => Ok(gguf::plan(checkpoint, source)),
            None => safetensors::plan(checkpoint, source),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.file.name
    }

    /// What the record says of the file, whose bytes have that digest.
    pub(super) fn file(&self, digest: Digest) -> LeanFile {
        LeanFile {
            digest,
            ..self.file.clone()
        }
    }

    /// Names of the tensors that are left out.
    pub(super) fn removed(&self) -> impl Iterator<Item = &str> {
        self.removed.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn removed_bytes(&self) -> u64 {
        self.removed.iter().map(|(_, bytes)| bytes).sum()
    }

    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept.iter().map(|kept| kept.bytes).sum()
    }

    /// Copies what stays from the file in `folder` to those in `out`, if there is any.
    pub(super) fn write_kept(&self, folder: &Path, out: &Path) -> Result<()> {
        let from = PreadReader::open_sequential(&folder.join(self.name()))?;
        if !self.kept.is_empty() {
            // Nothing is reserved: rows may become a hole.
            let mut to = NewFile::create(&out.join(self.name()), 0)?;
            to.overwrite(0, &self.start)?;
            copy(&from, &self.kept, &mut to)?;
            to.set_len(self.bytes)?;
            to.publish()?;
        }
        if !self.rest.is_empty() {
            let mut to = NewFile::create(&out.join(rest_name(self.name())), 0)?;
            copy(&from, &self.rest, &mut to)?;
            to.publish()?;
        }
        Ok(())
    }
}

fn copy(from: &PreadReader, what: &[Kept], to: &mut NewFile) -> Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    for kept in what {
        let mut done = 0;
        while done < kept.bytes {
            let count = usize::try_from(kept.bytes - done)?.min(chunk.len());
            let chunk = &mut chunk[..count];
            from.read_at(kept.from + done, chunk)?;
            to.overwrite(kept.to + done, chunk)?;
            done += count as u64;
        }
    }
    Ok(())
}

/// Rows of `table` that the pack has: those that some column reads.
fn packed_rows(checkpoint: &Checkpoint, table: &SourceTable) -> u64 {
    let mut layers = checkpoint.scheme.layers.iter();
    let layer = layers.find(|layer| layer.id == table.layer);
    layer.map_or(0, |layer| layer.buckets.iter().sum())
}
