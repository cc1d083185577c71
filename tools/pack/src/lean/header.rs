//! The header of a safetensors file, as text and as the tensors that it lists.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use engram_io::{PreadReader, ReadAt};
use serde_json::{Map, Value};

/// Bytes of the header's length at the start of a file.
pub(super) const LENGTH_BYTES: u64 = 8;
/// Key of what is no tensor.
const METADATA: &str = "__metadata__";
/// Readers expect data to start at a multiple of this.
const ALIGN: usize = 8;

pub(super) struct Header {
    pub(super) text: String,
    fields: Map<String, Value>,
}

/// A tensor in a header: its bytes, counted from the end of the header.
pub(super) struct Listed<'a> {
    pub(super) name: &'a str,
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Header {
    /// Reads the header of the file at `path`, which has been found to be a safetensors file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let file = PreadReader::open(path)?;
        let mut length = [0; 8];
        file.read_at(0, &mut length)?;
        let mut text = vec![0; usize::try_from(u64::from_le_bytes(length))?];
        file.read_at(LENGTH_BYTES, &mut text)?;
        let text = String::from_utf8(text).context("the header is not UTF-8")?;
        let fields = serde_json::from_str(&text)?;
        Ok(Self { text, fields })
    }

    /// Offset of the tensors' data.
    pub(super) fn data_start(&self) -> u64 {
        LENGTH_BYTES + self.text.len() as u64
    }

    /// The tensors, in the order of their bytes.
    pub(super) fn tensors(&self) -> Result<Vec<Listed<'_>>> {
        let tensors = self.fields.iter().filter(|(name, _)| *name != METADATA);
        let mut tensors: Vec<Listed<'_>> = tensors
            .map(|(name, info)| {
                let [start, end] = serde_json::from_value(info["data_offsets"].clone())?;
                anyhow::Ok(Listed { name, start, end })
            })
            .collect::<Result<_>>()?;
        tensors.sort_by_key(|tensor| (tensor.start, tensor.end));
        Ok(tensors)
    }

    /// The start of a file that has only the tensors in `offsets`, each at its new place.
    pub(super) fn lean(&self, offsets: &BTreeMap<&str, [u64; 2]>) -> Result<Vec<u8>> {
        let mut fields = self.fields.clone();
        fields.retain(|name, _| name == METADATA || offsets.contains_key(name.as_str()));
        for (name, info) in &mut fields {
            if let Some(offsets) = offsets.get(name.as_str()) {
                info["data_offsets"] = serde_json::to_value(offsets)?;
            }
        }
        let mut text = serde_json::to_vec(&fields)?;
        text.resize(text.len().next_multiple_of(ALIGN), b' ');
        let mut start = (text.len() as u64).to_le_bytes().to_vec();
        start.append(&mut text);
        Ok(start)
    }
}
