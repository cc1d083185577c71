//! Where the tensors of a checkpoint lie, by the headers of its safetensors files alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use engram_format::{Digest, SourceFile};
use engram_io::{PreadReader, ReadAt, check_is_file};
use safetensors::{Dtype, tensor::Metadata};
use serde::Deserialize;

use crate::{
    error::CheckpointError,
    files::{check_stand_in, read_json_up_to},
    modules::is_draft,
    nearest::nearest,
    ranks::rank_of,
    size::{grouped, missing},
    stand_in::START_BYTES,
};

/// Name of the list of tensors in the folder of a checkpoint of several files.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
pub(crate) const SINGLE_FILE: &str = "model.safetensors";
const EXTENSION: &str = ".safetensors";
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
    /// By name; several where several files have one.
    tensors: BTreeMap<String, Vec<Tensor>>,
    /// For each tensor that the index lists, its file.
    index: BTreeMap<String, String>,
    /// Files that the index lists and that cannot be read; nobody may need them.
    unread: BTreeSet<String>,
}

impl TensorFiles {
    /// Reads the headers of the single file of `folder` and of all files that its index names; of all that there are,
    /// where there is neither. Where several files have a tensor, the index decides.
    ///
    /// A file that is missing or damaged is an error only when a tensor in it is asked for, unless all are: who needs
    /// the tables alone need not have the whole model.
    ///
    /// # Errors
    /// Files that are missing, too large or damaged, or an index that names a file outside the checkpoint.
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let has_list = [INDEX_FILE, SINGLE_FILE]
            .iter()
            .any(|name| folder.join(name).exists());
        let all = if has_list {
            BTreeSet::new()
        } else {
            tensor_files_in(folder)
        };
        if !all.is_empty() {
            return Self::open_files(folder, BTreeMap::new(), all);
        }
        let index = read_index(folder)?;
        let mut names: BTreeSet<String> = index.values().cloned().collect();
        if names.is_empty() || folder.join(SINGLE_FILE).exists() {
            names.insert(SINGLE_FILE.into());
        }
        Self::open_files(folder, index, names)
    }

    /// Reads the header of the file `path` alone.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn open_file(path: &Path) -> Result<Self, CheckpointError> {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let names = BTreeSet::from([name.into_owned()]);
        Self::open_files(folder.unwrap_or(Path::new(".")), BTreeMap::new(), names)
    }

    fn open_files(
        folder: &Path,
        index: BTreeMap<String, String>,
        names: BTreeSet<String>,
    ) -> Result<Self, CheckpointError> {
        let mut opened = Self {
            folder: folder.into(),
            files: Vec::new(),
            tensors: BTreeMap::new(),
            index,
            unread: BTreeSet::new(),
        };
        let mut first_fault = None;
        for name in names {
            opened.check_is_inside(&name)?;
            if let Err(fault) = opened.add(&name) {
                first_fault.get_or_insert(fault);
                opened.unread.insert(name);
            }
        }
        match first_fault {
            Some(fault) if opened.files.is_empty() => Err(fault),
            _ => Ok(opened),
        }
    }

    /// Reads the headers of files in the folder that the index does not name, too, and returns their names. Files that
    /// cannot be read are left out.
    pub(crate) fn add_unlisted(&mut self) -> Vec<String> {
        let mut names = tensor_files_in(&self.folder);
        names.retain(|name| {
            !self.unread.contains(name) && !self.files.iter().any(|file| file.name == *name)
        });
        names
            .into_iter()
            .filter(|name| self.add(name).is_ok())
            .collect()
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files whose headers have been read, in the order of their names.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// Path of the file at index `source`.
    pub fn path(&self, source: u32) -> PathBuf {
        self.folder.join(&self.files[source as usize].name)
    }

    /// All tensors that can be read, in the order of their names.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.tensors.keys().filter_map(|name| self.named(name))
    }

    /// Names of all tensors, those in files that cannot be read among them.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let unread = self
            .index
            .keys()
            .filter(|name| !self.tensors.contains_key(*name));
        self.tensors.keys().chain(unread).map(String::as_str)
    }

    /// The prefixes and full names of all tensors whose name is `name`, or ends with it after a dot.
    pub(crate) fn ending_with(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        self.names().filter_map(move |full| {
            let prefix = full.strip_suffix(name)?;
            (prefix.is_empty() || prefix.ends_with('.')).then_some((prefix, full))
        })
    }

    /// The tensor whose name is `name`, and no other, if it can be read.
    pub fn named(&self, name: &str) -> Option<&Tensor> {
        self.resolve(name).ok().flatten()
    }

    /// The tensor whose name is `name`, or ends with it after a dot.
    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.get(name).ok()
    }

    /// As [`Self::find`]. Tensors of draft heads are no other tensor's namesakes.
    ///
    /// # Errors
    /// No such tensor, more than one, or one in a file that cannot be read.
    pub fn get(&self, name: &str) -> Result<&Tensor, CheckpointError> {
        if let Some(tensor) = self.resolve(name)? {
            return Ok(tensor);
        }
        let found: Vec<&str> = self
            .ending_with(name)
            .filter(|(prefix, _)| !is_draft(prefix))
            .map(|(_, full)| full)
            .collect();
        match found.as_slice() {
            [] => Err(self.missing(name)),
            [full] => self.resolve(full)?.ok_or_else(|| self.missing(name)),
            // Any choice would be a guess.
            _ => Err(self.ambiguous(name, found.into_iter().map(Into::into).collect())),
        }
    }

    /// The tensor whose full name is `name`, where there is one. Of several files that have it, the index says which
    /// one counts.
    ///
    /// # Errors
    /// A tensor in a file that cannot be read, in another one than the index says, or in several.
    pub fn resolve(&self, name: &str) -> Result<Option<&Tensor>, CheckpointError> {
        let found = self.tensors.get(name).map_or(&[][..], Vec::as_slice);
        let file_of = |tensor: &Tensor| self.files[tensor.source as usize].name.as_str();
        match (self.index.get(name), found) {
            (None, []) => Ok(None),
            (None, [tensor]) => Ok(Some(tensor)),
            (None, several) => Err(CheckpointError::DuplicateTensor {
                folder: self.folder.clone(),
                name: name.into(),
                files: several
                    .iter()
                    .map(|tensor| file_of(tensor).into())
                    .collect(),
            }),
            (Some(file), found) => match found.iter().find(|tensor| file_of(tensor) == file) {
                Some(tensor) => Ok(Some(tensor)),
                None => Err(self.not_in(name, file, found.first().map(file_of))),
            },
        }
    }

    /// The parts of the tensor whose full name is `name`, in row order: itself, or where files hold the part of a rank
    /// of a tensor-parallel model each, one of each. None if there is no such tensor.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub(crate) fn parts(&self, name: &str) -> Result<Vec<&Tensor>, CheckpointError> {
        let found = self.tensors.get(name).map_or(&[][..], Vec::as_slice);
        let rank = |tensor: &&Tensor| rank_of(&self.files[tensor.source as usize].name);
        if found.len() > 1 && !self.index.contains_key(name) {
            let mut parts: Vec<&Tensor> = found.iter().collect();
            parts.sort_by_key(rank);
            if (0..)
                .zip(&parts)
                .all(|(expected, part)| rank(part) == Some(expected))
            {
                return Ok(parts);
            }
        }
        Ok(self.resolve(name)?.into_iter().collect())
    }

    /// Why `name` is not in the `file` where the index says that it is.
    fn not_in(&self, name: &str, file: &str, found: Option<&str>) -> CheckpointError {
        if self.unread.contains(file)
            && let Err(fault) = self.header(file)
        {
            return fault;
        }
        let found = found.map_or("nowhere".into(), |found| format!("in {found}"));
        CheckpointError::Header {
            path: self.folder.join(file),
            reason: format!("the index says that `{name}` is here, but it is {found}"),
        }
    }

    /// The error that there is no tensor `name`.
    pub(crate) fn missing(&self, name: &str) -> CheckpointError {
        CheckpointError::MissingTensor {
            folder: self.folder.clone(),
            name: name.into(),
            nearest: nearest(name, self.names()),
        }
    }

    /// The error that any of `found` may be the tensor `name`.
    pub(crate) fn ambiguous(&self, name: &str, found: Vec<String>) -> CheckpointError {
        CheckpointError::AmbiguousTensor {
            folder: self.folder.clone(),
            name: name.into(),
            found,
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

    /// Up to `most` bytes of `tensor`, which must be one of these, from byte `start` on.
    pub(crate) fn read_part(
        &self,
        tensor: &Tensor,
        start: u64,
        most: usize,
    ) -> Result<Vec<u8>, CheckpointError> {
        let left = tensor.bytes.saturating_sub(start);
        let mut bytes = vec![0; usize::try_from(left).map_or(most, |left| left.min(most))];
        PreadReader::open(&self.path(tensor.source))?.read_at(tensor.offset + start, &mut bytes)?;
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

    fn check_is_inside(&self, name: &str) -> Result<(), CheckpointError> {
        if Path::new(name).file_name().is_some_and(|file| file == name) {
            return Ok(());
        }
        Err(CheckpointError::Header {
            path: self.folder.join(name),
            reason: "the index names a file outside the checkpoint".into(),
        })
    }

    /// Adds the tensors of the file `name`.
    fn add(&mut self, name: &str) -> Result<(), CheckpointError> {
        let (file, metadata) = self.header(name)?;
        let source = u32::try_from(self.files.len()).map_err(|_| CheckpointError::Header {
            path: self.folder.join(name),
            reason: "too many files".into(),
        })?;
        let data_start = file.bytes - metadata.data_len() as u64;
        self.files.push(file);
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
            self.tensors.entry(name).or_default().push(tensor);
        }
        Ok(())
    }

    /// Reads and checks the header of the file `name`.
    fn header(&self, name: &str) -> Result<(SourceFile, Metadata), CheckpointError> {
        let path = self.folder.join(name);
        check_is_file(&path)?;
        let reader = PreadReader::open(&path)?;
        let header = read_header(&path, &reader)?;
        let metadata: Metadata = serde_json::from_slice(&header[LENGTH_BYTES..]).map_err(|e| {
            CheckpointError::Header {
                path: path.clone(),
                reason: e.to_string(),
            }
        })?;
        let (header_bytes, data_bytes) = (header.len() as u64, metadata.data_len() as u64);
        let found = reader.size();
        match header_bytes.saturating_add(data_bytes) {
            expected if expected == found => {}
            expected if expected > found => {
                return Err(CheckpointError::CutTensors {
                    path,
                    found,
                    expected,
                });
            }
            expected => {
                return Err(CheckpointError::Header {
                    path,
                    reason: format!(
                        "header and tensors take {expected} bytes, the file has {found}: {} bytes more",
                        grouped(found - expected)
                    ),
                });
            }
        }
        let file = SourceFile {
            name: name.into(),
            bytes: found,
            header_digest: Digest::of(&header),
            header_bytes: None,
        };
        Ok((file, metadata))
    }
}

/// The file up to its tensors' data.
fn read_header(path: &Path, reader: &PreadReader) -> Result<Vec<u8>, CheckpointError> {
    let fault = |reason| CheckpointError::Header {
        path: path.into(),
        reason,
    };
    let size = reader.size();
    let mut start =
        vec![0; usize::try_from(size).map_or(START_BYTES, |size| size.min(START_BYTES))];
    reader.read_at(0, &mut start)?;
    check_stand_in(path, &start, true)?;
    let Some(&length) = start.first_chunk::<LENGTH_BYTES>() else {
        return Err(fault(format!(
            "the file has {size} bytes, a header takes 8 and more"
        )));
    };
    let length = u64::from_le_bytes(length);
    let most = (size - LENGTH_BYTES as u64).min(MAX_HEADER_BYTES);
    if length > most {
        let missing = if length <= MAX_HEADER_BYTES {
            format!("; {}", missing(length - most))
        } else {
            String::new()
        };
        return Err(fault(format!(
            "its length is {length} bytes, at most {most} are possible{missing}"
        )));
    }
    let mut header = vec![0; usize::try_from(length).expect("it is below 2^27") + LENGTH_BYTES];
    reader.read_at(0, &mut header)?;
    Ok(header)
}

/// Names of the safetensors files in `folder`.
fn tensor_files_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| is_tensor_file(Path::new(name)))
        .collect()
}

/// Whether `path` names a safetensors file, by its extension.
pub(crate) fn is_tensor_file(path: &Path) -> bool {
    path.to_string_lossy().ends_with(EXTENSION)
}

/// The `weight_map`: for each tensor its file. Empty for a checkpoint of a single file.
pub(crate) fn read_index(folder: &Path) -> Result<BTreeMap<String, String>, CheckpointError> {
    let path = folder.join(INDEX_FILE);
    let has_single = folder.join(SINGLE_FILE).exists();
    if has_single && !path.exists() {
        return Ok(BTreeMap::new());
    }
    let mut map = read_json_up_to::<Index>(&path, MAX_INDEX_BYTES)?.weight_map;
    if has_single {
        // What is left of an index whose files have been joined says nothing.
        map.retain(|_, file| folder.join(file).exists());
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use engram_io::IoError;

    use super::*;

    #[test]
    fn an_index_beyond_its_limit_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let index = File::create(folder.path().join(INDEX_FILE)).unwrap();
        index.set_len(1 << 42).unwrap();
        let refused = TensorFiles::open(folder.path()).unwrap_err();
        assert!(
            matches!(refused, CheckpointError::Io(IoError::TooLarge { most, .. }) if most == MAX_INDEX_BYTES),
            "{refused}"
        );
    }
}
