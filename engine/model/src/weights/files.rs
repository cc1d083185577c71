//! Which files a checkpoint has, and what their headers say.

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use candle_core::Device;
use safetensors::tensor::Metadata;
use serde::Deserialize;

use super::{Stored, TensorFile, Weights};
use crate::{Error, json};

const SINGLE_FILE: &str = "model.safetensors";
const INDEX_FILE: &str = "model.safetensors.index.json";
/// Of the header's length, at the start of a file.
const LENGTH_BYTES: usize = 8;
/// The limit of the safetensors library.
const MAX_HEADER_BYTES: u64 = 100_000_000;

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

pub(super) fn open(folder: &Path, device: &Device) -> Result<Weights, Error> {
    let single = folder.join(SINGLE_FILE);
    let path = folder.join(INDEX_FILE);
    // As transformers chooses: the index counts where there is no single file.
    let index = if single.exists() || !path.exists() {
        None
    } else {
        Some(json::read::<Index>(&path)?)
    };
    let mut weights = Weights {
        origin: if index.is_some() { path } else { single },
        files: Vec::new(),
        tensors: HashMap::new(),
        device: device.clone(),
    };
    let Some(index) = index else {
        add(&mut weights, folder.join(SINGLE_FILE))?;
        return Ok(weights);
    };
    for name in index.weight_map.values().collect::<BTreeSet<_>>() {
        if Path::new(name)
            .file_name()
            .is_none_or(|file| file != name.as_str())
        {
            let reason = format!("`{name}` is no file of the checkpoint");
            return Err(header_fault(&weights.origin, reason));
        }
        add(&mut weights, folder.join(name))?;
    }
    for (tensor, file) in &index.weight_map {
        let stored = weights.tensors.get(tensor);
        if stored.is_none_or(|stored| weights.files[stored.file].path != folder.join(file)) {
            let reason = format!("tensor `{tensor}` is not in {file}");
            return Err(header_fault(&weights.origin, reason));
        }
    }
    Ok(weights)
}

/// Adds the tensors of the file at `path`.
fn add(weights: &mut Weights, path: PathBuf) -> Result<(), Error> {
    let fault = |reason: String| header_fault(&path, reason);
    let failed = |source| Error::Io {
        path: path.clone(),
        source,
    };
    let mut file = File::open(&path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let header = read_header(&mut file, size)
        .map_err(failed)?
        .map_err(fault)?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|e| fault(e.to_string()))?;
    let start = (LENGTH_BYTES + header.len()) as u64;
    let data = metadata.data_len() as u64;
    if start.checked_add(data) != Some(size) {
        let reason = format!("header and tensors take {start} + {data} bytes, the file has {size}");
        return Err(fault(reason));
    }
    for (name, info) in metadata.tensors() {
        let (first, end) = info.data_offsets;
        let stored = Stored {
            file: weights.files.len(),
            dtype: info.dtype,
            shape: info.shape.clone(),
            offset: start + first as u64,
            bytes: end - first,
        };
        if let Some(other) = weights.tensors.insert(name.clone(), stored) {
            let other = weights.files[other.file].path.display();
            return Err(fault(format!("tensor `{name}` is also in {other}")));
        }
    }
    weights.files.push(TensorFile { path, file });
    Ok(())
}

/// The JSON at the start of a file of `size` bytes, or why there cannot be any.
fn read_header(file: &mut File, size: u64) -> io::Result<Result<Vec<u8>, String>> {
    let Some(rest) = size.checked_sub(LENGTH_BYTES as u64) else {
        return Ok(Err(format!(
            "the file has {size} bytes, a header takes {LENGTH_BYTES} and more"
        )));
    };
    let mut length = [0; LENGTH_BYTES];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    let most = rest.min(MAX_HEADER_BYTES);
    if length > most {
        return Ok(Err(format!(
            "its header has {length} bytes, at most {most} are possible"
        )));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header)?;
    Ok(Ok(header))
}

fn header_fault(path: &Path, reason: String) -> Error {
    Error::Header {
        path: path.into(),
        reason,
    }
}
