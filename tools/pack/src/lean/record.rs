//! What a lean checkpoint says of the one that it was made from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use engram_format::{Digest, LayerId};
use engram_io::IoError;
use serde::{Deserialize, Serialize};

/// Name of the record in a lean checkpoint's folder.
pub const LEAN_FILE: &str = "engram-lean.json";

const FORMAT: &str = "engram-lean";
const VERSION: u32 = 1;
/// Largest record that is read: it holds the headers of the files and their index.
const MAX_BYTES: u64 = 256 << 20;

/// Name of what a lean checkpoint has of the file `name` and no engine loads.
pub(super) fn rest_name(name: &str) -> String {
    format!("{name}.engram-rest")
}

/// All that is needed to make the checkpoint again, beside the pack and the lean checkpoint's own files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeanRecord {
    pub(super) pack: PackIdentity,
    /// The text of the checkpoint's index, where it had one.
    pub(super) index: Option<String>,
    /// The files that held tables.
    pub(super) files: Vec<LeanFile>,
}

/// The pack that has the rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PackIdentity {
    /// Where it lay.
    pub(super) path: PathBuf,
    /// Digest of its manifest, which has those of all its rows.
    pub(super) manifest: Digest,
}

/// A file of the checkpoint that held rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeanFile {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) digest: Digest,
    /// The header of a safetensors file after its length; none of others, which keep theirs.
    pub(super) header: Option<String>,
    /// What follows the header, in order.
    pub(super) pieces: Vec<Piece>,
}

/// Consecutive bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Piece {
    /// Bytes of the lean checkpoint's file of the same name.
    Kept { offset: u64, bytes: u64 },
    /// A part of each of some rows, by the plane of their table.
    Rows {
        layer: LayerId,
        plane: usize,
        first_row: u64,
        row_count: u64,
    },
    /// Bytes of the file that [`rest_name`] names: rows of the tensor that no token reads, which the pack has not.
    Rest { offset: u64, bytes: u64 },
}

impl LeanRecord {
    pub(super) fn to_text(&self) -> String {
        let mut root = serde_json::to_value(self).expect("plain data serializes");
        root["format"] = FORMAT.into();
        root["version"] = VERSION.into();
        serde_json::to_string_pretty(&root).expect("JSON serializes") + "\n"
    }

    /// Bytes of the files that held tables.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Reads the record of the lean checkpoint in `folder`.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(LEAN_FILE);
        ensure!(
            path.try_exists().map_err(IoError::os("open", &path))?,
            "{} has no {LEAN_FILE}: it is no lean checkpoint",
            folder.display()
        );
        let text = engram_io::read_file(&path, MAX_BYTES)?;
        Self::from_text(&text).with_context(|| format!("cannot use {}", path.display()))
    }

    fn from_text(text: &[u8]) -> Result<Self> {
        let mut root: serde_json::Value = serde_json::from_slice(text)?;
        let fields = root.as_object_mut().context("it is no JSON object")?;
        let format = fields.remove("format");
        ensure!(
            format.as_ref().is_some_and(|format| format == FORMAT),
            "format is {}, expected \"{FORMAT}\"",
            format.unwrap_or_default()
        );
        let version = fields.remove("version");
        ensure!(
            version.as_ref().is_some_and(|version| version == VERSION),
            "version is {}, this release reads {VERSION}",
            version.unwrap_or_default()
        );
        let record: Self = serde_json::from_value(root)?;
        for file in &record.files {
            // A record from a stranger must not make us write elsewhere.
            let is_name = Path::new(&file.name)
                .file_name()
                .is_some_and(|name| *name == *file.name);
            ensure!(is_name, "`{}` is no file name", file.name);
        }
        Ok(record)
    }
}
