//! The pack that a command worked on.

use std::path::{Path, absolute};

use engram::{Manifest, Storage, read_manifest};
use engram_format::Digest;
use serde::{Deserialize, Serialize};

use crate::drive::Drive;

/// What tells one pack from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PackFacts {
    /// Its folder.
    pub path: String,
    /// Digest of its manifest, which has the digests of a packed pack's shards: the same rows, the same digest.
    pub digest: String,
    /// Name of its scheme.
    pub scheme: String,
    /// Whether it reads a checkpoint's own files.
    pub attached: bool,
    /// Bytes of the rows of all tables.
    pub row_bytes: u64,
    /// What its rows lie on.
    pub drive: Drive,
}

impl PackFacts {
    /// Those of the pack in the folder `pack`; none where there is no pack.
    pub fn of(pack: &Path) -> Option<Self> {
        let manifest = read_manifest(pack).ok()?;
        let rows_in = match &manifest.storage {
            Storage::Packed | Storage::Cold { .. } => pack,
            Storage::Attached { checkpoint } => Path::new(checkpoint),
        };
        Some(Self {
            path: absolute(pack).ok()?.to_string_lossy().into(),
            digest: Digest::of(manifest.to_text().as_bytes()).to_string(),
            scheme: manifest.scheme.name.clone(),
            attached: matches!(manifest.storage, Storage::Attached { .. }),
            row_bytes: row_bytes(&manifest),
            drive: Drive::of(rows_in),
        })
    }
}

/// Bytes of the rows of all tables.
pub fn row_bytes(manifest: &Manifest) -> u64 {
    let tables = manifest.tables.iter().enumerate();
    let bytes = tables.map(|(index, table)| {
        let columns = manifest.scheme.columns(index);
        let rows: u64 = columns.map(|column| column.row_count).sum();
        rows * table.codec.row_bytes() as u64
    });
    bytes.sum()
}
