//! Where the tensors of a checkpoint lie, by the headers of its safetensors files alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use engram_format::{Digest, SourceFile};
use engram_io::{IoError, PreadReader, ReadAt};
use safetensors::{Dtype, tensor::Metadata};
use serde::Deserialize;

use crate::{error::CheckpointError, files::read_json_up_to};

const INDEX_FILE: &str = "model.safetensors.index.json";
const SINGLE_FILE: &str = "model.safetensors";
/// Size in bytes of the largest index that is read: it takes about 100 bytes a tensor, so this is room for 600,000,
/// several times those of the largest published models.
const MAX_INDEX_BYTES: u64 = 64 << 20;
/// Bytes of the header's length at the start of a file.
const LENGTH_BYTES: usize = 8;
/// The limit of the safetensors library.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// One tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Full name.
    pub name: String,
    /// Index in [`TensorFiles::files`].
    pub source: u32,
    /// Element type.
    pub dtype: Dtype,
    /// Elements in each dimension.
    pub shape: Vec<u64>,
    /// Offset of its first byte in the file.
    pub offset: u64,
    /// Its size.
    pub bytes: u64,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The safetensors files of a checkpoint.
#[derive(Debug, Clone)]
pub struct TensorFiles {
    folder: PathBuf,
    files: Vec<SourceFile>,
    tensors: BTreeMap<String, Tensor>,
}

impl TensorFiles {
    /// Reads the headers of the single file of `folder`, or of all files that its index names. As in the transformers
    /// library, the index is used only if there is no single file.
    ///
    /// # Errors
    /// A file that is missing or too large, a header that is damaged or contradicts the size of its file, or an index
    /// that says of a tensor that it is in a file where it is not.
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let weight_map = read_index(folder)?;
        let names: BTreeSet<&str> = match &weight_map {
            Some(map) => map.values().map(String::as_str).collect(),
            None => BTreeSet::from([SINGLE_FILE]),
        };
        let mut opened = Self {
            folder: folder.into(),
            files: Vec::new(),
            tensors: BTreeMap::new(),
        };
        for name in names {
            opened.add(name)?;
        }
        for (tensor, file) in weight_map.iter().flatten() {
            let source = opened
                .tensors
                .get(tensor)
                .map(|tensor| tensor.source as usize);
            let found = source.map(|source| opened.files[source].name.as_str());
            if found != Some(file) {
                return Err(CheckpointError::Header {
                    path: folder.join(file),
                    reason: format!(
                        "the index says that `{tensor}` is here, but it is {}",
                        found.map_or("nowhere".into(), |found| format!("in {found}"))
                    ),
                });
            }
        }
        Ok(opened)
    }

    /// The files, in the order of their names.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// Path of the file at index `source`.
    pub fn path(&self, source: u32) -> PathBuf {
        self.folder.join(&self.files[source as usize].name)
    }

    /// All tensors, in the order of their names.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.tensors.values()
    }

    /// The tensor whose name is `name`, and no other.
    pub fn named(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// The tensor whose name is `name`, or ends with it after a dot.
    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.get(name).ok()
    }

    /// As [`Self::find`].
    ///
    /// # Errors
    /// No such tensor, or more than one.
    pub fn get(&self, name: &str) -> Result<&Tensor, CheckpointError> {
        if let Some(tensor) = self.named(name) {
            return Ok(tensor);
        }
        let ends = |full: &str| {
            full.strip_suffix(name)
                .is_some_and(|prefix| prefix.ends_with('.'))
        };
        let (folder, name) = (self.folder.clone(), name.into());
        let mut matches = self.tensors.values().filter(|tensor| ends(&tensor.name));
        match (matches.next(), matches.next()) {
            (Some(tensor), None) => Ok(tensor),
            (None, _) => Err(CheckpointError::MissingTensor { folder, name }),
            // Any choice would be a guess.
            (Some(_), Some(_)) => Err(CheckpointError::AmbiguousTensor { folder, name }),
        }
    }

    /// The bytes of `tensor`, which must be one of these.
    ///
    /// # Errors
    /// A file that cannot be read.
    #[expect(clippy::missing_panics_doc, reason = "its file fits an address space")]
    pub fn read(&self, tensor: &Tensor) -> Result<Vec<u8>, CheckpointError> {
        let bytes = usize::try_from(tensor.bytes).expect("files are below 2^63 bytes");
        let mut bytes = vec![0; bytes];
        PreadReader::open(&self.path(tensor.source))?.read_at(tensor.offset, &mut bytes)?;
        Ok(bytes)
    }

    /// An error about `tensor`.
    pub fn fault(
        &self,
        tensor: &Tensor,
        field: &'static str,
        found: impl ToString,
        expected: impl ToString,
    ) -> CheckpointError {
        CheckpointError::Tensor {
            path: self.path(tensor.source),
            name: tensor.name.clone(),
            field,
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }

    fn add(&mut self, name: &str) -> Result<(), CheckpointError> {
        let path = self.folder.join(name);
        let fault = |reason: String| CheckpointError::Header {
            path: path.clone(),
            reason,
        };
        if Path::new(name).file_name().is_none_or(|file| file != name) {
            return Err(fault(
                "the index names a file outside the checkpoint".into(),
            ));
        }
        let reader = PreadReader::open(&path)?;
        let header = read_header(&reader).map_err(|e| match e {
            HeaderFault::Io(e) => e.into(),
            HeaderFault::Length(reason) => fault(reason),
        })?;
        let metadata: Metadata =
            serde_json::from_slice(&header[LENGTH_BYTES..]).map_err(|e| fault(e.to_string()))?;
        let data_start = header.len() as u64;
        let data_bytes = metadata.data_len() as u64;
        if data_start.checked_add(data_bytes) != Some(reader.size()) {
            return Err(fault(format!(
                "header and tensors take {data_start} + {data_bytes} bytes, the file has {}",
                reader.size()
            )));
        }
        let source = u32::try_from(self.files.len()).map_err(|_| fault("too many files".into()))?;
        self.files.push(SourceFile {
            name: name.into(),
            bytes: reader.size(),
            header_digest: Digest::of(&header),
        });
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let tensor = Tensor {
                name: name.clone(),
                source,
                dtype: info.dtype,
                shape: info.shape.iter().map(|&n| n as u64).collect(),
                offset: data_start + start as u64,
                bytes: (end - start) as u64,
            };
            if let Some(other) = self.tensors.insert(name.clone(), tensor) {
                let other = self.path(other.source);
                return Err(fault(format!("`{name}` is also in {}", other.display())));
            }
        }
        Ok(())
    }
}

enum HeaderFault {
    Io(IoError),
    Length(String),
}

/// The file up to its tensors' data.
fn read_header(reader: &PreadReader) -> Result<Vec<u8>, HeaderFault> {
    let size = reader.size();
    if size < LENGTH_BYTES as u64 {
        return Err(HeaderFault::Length(format!(
            "the file has {size} bytes, a header takes 8 and more"
        )));
    }
    let mut length = [0; LENGTH_BYTES];
    reader.read_at(0, &mut length).map_err(HeaderFault::Io)?;
    let length = u64::from_le_bytes(length);
    let most = (size - LENGTH_BYTES as u64).min(MAX_HEADER_BYTES);
    if length > most {
        return Err(HeaderFault::Length(format!(
            "its length is {length} bytes, at most {most} are possible"
        )));
    }
    let mut header = vec![0; usize::try_from(length).expect("it is below 2^27") + LENGTH_BYTES];
    reader.read_at(0, &mut header).map_err(HeaderFault::Io)?;
    Ok(header)
}

/// The `weight_map`: for each tensor its file. `None` for a checkpoint of a single file.
fn read_index(folder: &Path) -> Result<Option<BTreeMap<String, String>>, CheckpointError> {
    let path = folder.join(INDEX_FILE);
    if folder.join(SINGLE_FILE).exists() {
        return Ok(None);
    }
    Ok(Some(
        read_json_up_to::<Index>(&path, MAX_INDEX_BYTES)?.weight_map,
    ))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn an_index_beyond_its_limit_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let index = File::create(folder.path().join(INDEX_FILE)).unwrap();
        index.set_len(1 << 42).unwrap();
        let refused = TensorFiles::open(folder.path()).unwrap_err();
        assert!(
            matches!(refused, CheckpointError::TooLarge { most, .. } if most == MAX_INDEX_BYTES),
            "{refused}"
        );
    }
}
